"""Append-only ingest: names of the source are assigned to shards once, then each shard is read and published.

The assignment is published before any shard, so a killed ingest goes on with the same shards, and images added to the
source later get shards of their own: no image of a shard ever changes (`pipeline.stored`). Corrected labels of a source
that gives any make the tables of their shards anew, and the stages do the samples concerned again (`pipeline.reuse`). A
shard that keeps killing its process is decoded in a child, up to the image at fault.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np

from pipeline import attempts
from pipeline.config import SourceConfig
from pipeline.isolate import Isolated, StageDied
from pipeline.lineage import IMAGES, Done
from pipeline.listing import Listed, append_listing, came_later, read_listing, taken
from pipeline.records import (
    count_annotations,
    count_samples,
    given_name,
    publish_table,
    read_images,
    read_parquet,
    truth_name,
)
from pipeline.schema import KINDS, Annotations, ImageRow, Row
from pipeline.shards import TarWriter
from pipeline.store import IO_THREADS, Manifest, Store, digest, withdrawn_name
from pipeline.stored import Receive, Received, Stored, failed, stored
from stages import registry
from stages.base import SampleError
from stages.ingest import DUPLICATE_KEY, Accepted, Item, Source, make_key, receive

SOURCE = f"{IMAGES}/source.json"
CRASHED, OUT_OF_MEMORY = "crashed", "out_of_memory"


def assign(store: Store, config: SourceConfig, names: Sequence[str], publish: bool = True) -> dict[str, list[str]]:
    """The source's names by shard: those assigned before keep theirs, new ones get shards of their own, a name that is
    a container of samples one for itself.

    Raises:
        ValueError: the work folder holds the images of another source.
    """
    _check_source(store, config, publish)
    shards: dict[str, list[str]] = {}
    for listed in read_listing(store):
        shards.setdefault(listed.shard, []).append(listed.name)
    known = {name for assigned in shards.values() for name in assigned}
    new = [name for name in names if name not in known]
    size = 1 if registry.load(config.use)[0].whole else config.shard_size
    fresh = []
    for start in range(0, len(new), size):
        shard = f"shard-{len(shards):06d}"
        shards[shard] = new[start : start + size]
        fresh += [Listed(shard=shard, name=name) for name in shards[shard]]
    if fresh and publish:
        append_listing(store, fresh)
    return shards


def _check_source(store: Store, config: SourceConfig, publish: bool) -> None:
    """Names identify images within one source only, so a work folder stays with the source it began with."""
    identity = [f.name for f in fields(config.options) if f.metadata.get("identity", True)]
    options = {name: getattr(config.options, name) for name in identity}
    now = {"use": config.use, **json.loads(json.dumps(options))}
    known = store.read_json(SOURCE) if store.exists(SOURCE) else {}
    for key in sorted(known.keys() & now.keys()):
        if known[key] != now[key]:
            here = f"{store.url} holds images of {key}={known[key]}"
            raise ValueError(f"source.{key}={now[key]}: {here}; give another work")
    if publish and not known:
        store.publish_json(SOURCE, now)


def list_source(config: SourceConfig) -> list[str]:
    """What the source has, no more than its limit.

    Raises:
        ValueError: it is missing or empty.
    """
    return open_source(config).list()[: config.limit]


def open_source(config: SourceConfig) -> Source:
    source: Source = registry.load(config.use)[0](config.options)
    return source


def ingested(
    store: Store, config: SourceConfig, listing: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Done], list[str]]:
    """What is done of every shard, its images, and which shards are there with other labels than the source has now."""
    source, known = open_source(config), store.done(IMAGES)
    done: dict[str, Done] = {shard: {IMAGES: known[shard]} if shard in known else {} for shard in listing}
    stale = []
    for shard, names in listing.items():
        if done[shard] and (revision := source.revision(names)) and known[shard][0] != digest(*names, revision):
            stale.append(shard)
            done[shard] = {}
    return done, stale


def check_keys(store: Store, config: SourceConfig, shards: Sequence[str]) -> None:
    """Within a shard a second image of a key is a failed row; that no other shard has it is the source's word.

    Raises:
        ValueError: the source says that its keys are unique, and they are not.
    """
    claims = [f.name for f in fields(config.options) if f.metadata.get("unique") and getattr(config.options, f.name)]
    if not claims:
        return
    with ThreadPoolExecutor(IO_THREADS) as pool:
        keys = list(pool.map(lambda shard: _hashed_keys(store, shard), shards))
    found, counts = np.unique(np.concatenate(keys), return_counts=True)
    for twice in found[counts > 1][:1]:
        here = [shard for shard, some in zip(shards, keys, strict=True) if twice in some]
        key = next(row.key for row in read_images(store, here[0]) if int(digest(row.key), 16) == twice)
        claim = f"source.{claims[0]}={getattr(config.options, claims[0])}"
        raise ValueError(
            f"{claim}: {', '.join(here)} all have an image of the key {key}; leave it unset and give another work"
        )


def _hashed_keys(store: Store, shard: str) -> np.ndarray:
    table = read_parquet(store, f"{IMAGES}/{shard}.parquet").select(["key", "failed"]).to_pylist()
    return np.array([int(digest(row["key"]), 16) for row in table if row["failed"] is None], np.uint64)


class Ingest:
    """Reads the items of one shard a call and publishes its tar, its table of all items, what the source gave them and
    what is true of them, if anything."""

    def __init__(self, url: str, config: SourceConfig, shards: dict[str, list[str]]) -> None:
        self.store, self.config, self.shards = Store(url), config, shards
        self._source = open_source(config)

    def __call__(self, shard: str, done: Done) -> Done:
        with attempts.mark(self.store, IMAGES, shard) as isolated:
            child = Isolated(_receiver, threads=1) if isolated else None
            try:
                manifest = self._ingest(shard, functools.partial(_received, child))
            finally:
                if child:
                    child.close()
        return {**done, IMAGES: (manifest.inputs, manifest.output)}

    def _ingest(self, shard: str, receive: Receive) -> Manifest:
        names = self.shards[shard]
        revision = self._source.revision(names)
        rows, files = [], {}
        labels: dict[str, list[Row]] = {given_name(shard): [], truth_name(shard): []}
        with stored(self.store, shard, bool(revision)) as before:
            with self.store.publishing(f"{IMAGES}/{shard}.tar") as sink:
                tar = TarWriter(sink)
                for row, accepted in self._items(shard, receive, before):
                    rows.append(_written(tar, row, accepted) if accepted else row)
                    if accepted:
                        said = stamped(accepted.given, self.config.use), accepted.truth
                        for name, annotations in zip(labels, said, strict=True):
                            labels[name] += [Row(key=row.key, annotations=annotations)] if annotations else []
                tar.close()
            files[f"{IMAGES}/{shard}.tar"] = {"sha256": sink.sha256, "size": sink.size}
            files[f"{IMAGES}/{shard}.parquet"] = publish_table(self.store, f"{IMAGES}/{shard}.parquet", ImageRow, rows)
            files |= {name: publish_table(self.store, name, Row, said) for name, said in labels.items() if said}
            manifest = Manifest(
                shard=shard, inputs=digest(*names, *([revision] if revision else [])), files=files,
                samples=count_samples(len(rows), [row.failed for row in rows]),
                annotations=count_annotations([row.annotations for row in labels[given_name(shard)]]),
            )  # fmt: skip
            self.store.publish_manifest(IMAGES, manifest)
            if before:
                before.tell(manifest, rows, labels[given_name(shard)])
        self.store.remove(withdrawn_name(IMAGES, shard))
        return manifest

    def _items(self, shard: str, receive: Receive, before: Stored | None) -> Iterator[Received]:
        items = self._source.read(self.shards[shard])
        if before and before.rows is not None:
            yield from before.again(items, receive)
            return
        keys, elsewhere = set[str](), taken(self.store, shard) if self._source.whole else ()
        later = came_later(self.store, shard)
        for item in items:
            key = make_key(item.key or item.name)
            if key in elsewhere:
                continue
            row = ImageRow(key=key, name=item.name, source_sha256=hashlib.sha256(item.data or b"").hexdigest())
            try:
                if key in later:
                    raise SampleError(later[key], "it came in at another try")
                if key in keys and not item.failed:
                    raise SampleError(DUPLICATE_KEY, f"another image of the shard has the key {key}")
                found = before.recovered(row, item, receive) if before and key not in keys else None
                row, accepted = found or (row, receive(item))
            except SampleError as error:
                yield failed(row, error), None
                continue
            keys.add(key)
            yield row, accepted
        if before:
            yield from before.left(keys, receive)


def stamped(given: Annotations, use: str) -> Annotations:
    """What the source gave, with ids of its own and the source's name where it left them open."""

    def stamp(annotation: Any, index: str) -> Any:
        return replace(annotation, id=annotation.id or f"{annotation.source}.{index}", model=annotation.model or use)

    return Annotations(*([stamp(a, f"{kind}.{i}") for i, a in enumerate(getattr(given, kind))] for kind in KINDS))


@contextmanager
def child_receiver() -> Iterator[Receive]:
    """`receive` in a child process, so that an image may kill it."""
    child = Isolated(_receiver, threads=1)
    try:
        yield functools.partial(_received, child)
    finally:
        child.close()


def _receiver() -> Callable[[Sequence[Item]], list[Accepted]]:
    return lambda items: [receive(item) for item in items]


def _received(child: Isolated | None, item: Item) -> Accepted:
    """Raises:
    SampleError: the item cannot be used, or kills the process that decodes it.
    """
    try:
        accepted: Accepted = child([item])[0] if child else receive(item)
        return accepted
    except StageDied as error:
        raise SampleError(CRASHED, str(error)) from error
    except MemoryError as error:
        raise SampleError(OUT_OF_MEMORY, str(error)) from error


def _written(tar: TarWriter, row: ImageRow, accepted: Accepted) -> ImageRow:
    member = tar.write(row.key, {accepted.extension: accepted.data})[0]
    turned = accepted.orientation != 1
    return replace(
        row, member=member.name, offset=member.offset, size=member.size,
        width=accepted.width, height=accepted.height,
        sha256=hashlib.sha256(accepted.data).hexdigest() if turned else row.source_sha256,
        transform=f"exif_orientation_{accepted.orientation}" if turned else None,
    )  # fmt: skip
