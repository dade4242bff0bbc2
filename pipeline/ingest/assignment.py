"""Which shard each name of the source is given, and which shards are done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np

from pipeline.config.run import SourceConfig
from pipeline.ingest.listing import Listed, append_listing, read_listing
from pipeline.plan.shard_state import Done
from pipeline.storage import layout
from pipeline.storage.images import read_images
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import digest
from pipeline.storage.parquet import read_parquet
from pipeline.storage.store import IO_THREADS, Store
from stages import registry
from stages.ingest import Source


def assign(
    store: Store, config: SourceConfig, names: Sequence[str], publish: bool = True
) -> dict[str, list[str]]:
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
        shard = layout.shard_name(len(shards))
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
    known = store.read_json(layout.SOURCE) if store.exists(layout.SOURCE) else {}
    for key in sorted(known.keys() & now.keys()):
        if known[key] != now[key]:
            here = f"{store.url} holds images of {key}={known[key]}"
            raise ValueError(f"source.{key}={now[key]}: {here}; give another work")
    if publish and not known:
        store.publish_json(layout.SOURCE, now)


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
    done: dict[str, Done] = {
        shard: {IMAGES: known[shard]} if shard in known else {} for shard in listing
    }
    stale = []
    for shard, names in listing.items():
        if (
            done[shard]
            and (revision := source.revision(names))
            and known[shard][0] != digest(*names, revision)
        ):
            stale.append(shard)
            done[shard] = {}
    return done, stale


def check_keys(store: Store, config: SourceConfig, shards: Sequence[str]) -> None:
    """Within a shard a second image of a key is a failed row; that no other shard has it is the source's word.

    Raises:
        ValueError: the source says that its keys are unique, and they are not.
    """
    claims = [
        f.name
        for f in fields(config.options)
        if f.metadata.get("unique") and getattr(config.options, f.name)
    ]
    if not claims:
        return
    with ThreadPoolExecutor(IO_THREADS) as pool:
        keys = list(pool.map(lambda shard: _hashed_keys(store, shard), shards))
    found, counts = np.unique(np.concatenate(keys), return_counts=True)
    for twice in found[counts > 1][:1]:
        here = [shard for shard, some in zip(shards, keys, strict=True) if twice in some]
        key = next(
            row.key for row in read_images(store, here[0]) if int(digest(row.key), 16) == twice
        )
        claim = f"source.{claims[0]}={getattr(config.options, claims[0])}"
        raise ValueError(
            f"{claim}: {', '.join(here)} all have an image of the key {key}; leave it unset and give another work"
        )


def _hashed_keys(store: Store, shard: str) -> np.ndarray:
    table = read_parquet(store, layout.images_table(shard)).select(["key", "failed"]).to_pylist()
    return np.array(
        [int(digest(row["key"]), 16) for row in table if row["failed"] is None], np.uint64
    )
