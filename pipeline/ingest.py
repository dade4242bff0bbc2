"""Append-only ingest: names of the source are assigned to shards once, then each shard is read and published.

The assignment is published before any shard, so a killed ingest goes on with the same shards, and images added to the
source later get shards of their own: no shard ever changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from pipeline.config import SourceConfig
from pipeline.lineage import IMAGES, Done
from pipeline.records import count_samples, publish_table, read_table
from pipeline.schema import ImageRow, Row
from pipeline.shards import TarWriter
from pipeline.store import Manifest, Store, digest
from stages import registry
from stages.base import SampleError
from stages.ingest import UNREADABLE, Accepted, Source, accept, make_key

LISTING = f"{IMAGES}/listing"
SOURCE = f"{IMAGES}/source.json"
DUPLICATE_KEY = "duplicate_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One name of the source and the shard that it was given."""

    shard: str
    name: str


def assign(store: Store, config: SourceConfig, names: Sequence[str], publish: bool = True) -> dict[str, list[str]]:
    """The source's names by shard: those assigned before keep theirs, new ones get shards of their own.

    Raises:
        ValueError: the work folder holds the images of another source.
    """
    _check_source(store, config, publish)
    shards: dict[str, list[str]] = {}
    for file in store.list(LISTING):
        for listed in read_table(store, f"{LISTING}/{file}", Listed):
            shards.setdefault(listed.shard, []).append(listed.name)
    known = {name for assigned in shards.values() for name in assigned}
    new = [name for name in names if name not in known]
    fresh = []
    for start in range(0, len(new), config.shard_size):
        shard = f"shard-{len(shards):06d}"
        shards[shard] = new[start : start + config.shard_size]
        fresh += [Listed(shard=shard, name=name) for name in shards[shard]]
    if fresh and publish:
        publish_table(store, f"{LISTING}/{len(store.list(LISTING)):06d}.parquet", Listed, fresh)
    return shards


def _check_source(store: Store, config: SourceConfig, publish: bool) -> None:
    """Names identify images within one source only, so a work folder stays with the source it began with."""
    now = {"use": config.use, **{f.name: getattr(config.options, f.name) for f in fields(config.options)}}
    known = store.read_json(SOURCE) if store.exists(SOURCE) else {}
    for key in known.keys() & now.keys() - {"count"}:
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


def truth_name(shard: str) -> str:
    return f"{IMAGES}/truth/{shard}.parquet"


class Ingest:
    """Reads the items of one shard a call and publishes its tar, its table of all items, and the truth, if any."""

    def __init__(self, url: str, config: SourceConfig, shards: dict[str, list[str]]) -> None:
        self.store, self.config, self.shards = Store(url), config, shards
        self._source = open_source(config)

    def __call__(self, shard: str, done: Done) -> Done:
        names = self.shards[shard]
        rows: list[ImageRow] = []
        truth: list[Row] = []
        with self.store.publishing(f"{IMAGES}/{shard}.tar") as sink:
            tar = TarWriter(sink)
            for row, accepted, known in self._items(names):
                if accepted is None:
                    rows.append(row)
                    continue
                member = tar.write(row.key, {accepted.extension: accepted.data})[0]
                rows.append(_stored(row, accepted, member.name, member.offset))
                truth += [known] if known else []
            tar.close()
        files = {f"{IMAGES}/{shard}.tar": {"sha256": sink.sha256, "size": sink.size}}
        files[f"{IMAGES}/{shard}.parquet"] = publish_table(self.store, f"{IMAGES}/{shard}.parquet", ImageRow, rows)
        if truth:
            files[truth_name(shard)] = publish_table(self.store, truth_name(shard), Row, truth)
        samples = count_samples(len(names), [row.failed for row in rows])
        manifest = Manifest(shard=shard, inputs=digest(*names), files=files, samples=samples)
        self.store.publish_manifest(IMAGES, manifest)
        return {**done, IMAGES: (manifest.inputs, manifest.output)}

    def _items(self, names: list[str]) -> Iterator[tuple[ImageRow, Accepted | None, Row | None]]:
        keys = set[str]()
        for item in self._source.read(names):
            key = make_key(item.name)
            row = ImageRow(key=key, name=item.name, source_sha256=hashlib.sha256(item.data or b"").hexdigest())
            try:
                if item.data is None:
                    raise SampleError(UNREADABLE)
                if key in keys:
                    raise SampleError(DUPLICATE_KEY, f"another image of the shard has the key {key}")
                accepted = accept(item.data)
            except SampleError as error:
                yield _failed(row, error), None, None
                continue
            keys.add(key)
            yield row, accepted, Row(key=key, annotations=item.truth) if item.truth else None


def _failed(row: ImageRow, error: SampleError) -> ImageRow:
    return ImageRow(
        key=row.key, name=row.name, source_sha256=row.source_sha256, failed=error.reason, detail=error.detail or None
    )


def _stored(row: ImageRow, accepted: Accepted, member: str, offset: int) -> ImageRow:
    return ImageRow(
        key=row.key, name=row.name, source_sha256=row.source_sha256, member=member, offset=offset,
        size=len(accepted.data), width=accepted.width, height=accepted.height,
        sha256=hashlib.sha256(accepted.data).hexdigest(), transform=accepted.transform,
    )  # fmt: skip
