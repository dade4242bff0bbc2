"""Which shard each name of the source is assigned to, and which shards are done."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipeline.config.run import SourceConfig
from pipeline.ingest.assignment_log import (
    ShardAssignment,
    append_assignments,
    read_assignments,
)
from pipeline.plan.shard_state import ShardState
from pipeline.storage import layout
from pipeline.storage.images import read_images
from pipeline.storage.json_types import Json
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import digest
from pipeline.storage.parquet import read_parquet
from pipeline.storage.reviews import read_reviews, reviewed_shards
from pipeline.storage.store import Store
from pipeline.storage.threads import mapped
from stages import registry
from stages.base import is_as_before, role_of
from stages.ingest import Source, SourceIds, SourceWithIds


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """`source.json`: which source the images of a work folder come from."""

    settings: Json
    """`use`, and the settings that decide what the names of the source mean."""

    @classmethod
    def of(cls, config: SourceConfig) -> SourceIdentity:
        """The identity of the source that a config describes."""
        settings = {"use": config.use}
        for field in fields(config.options):
            value = getattr(config.options, field.name)
            if role_of(field).identity and not is_as_before(field, value):
                settings[field.name] = value
        # As they are when they are read again: tuples become lists.
        return cls(json.loads(json.dumps(settings)))

    @classmethod
    def read(cls, store: Store) -> SourceIdentity | None:
        """That of a work folder, None if it has no images yet."""
        if not store.exists(layout.SOURCE):
            return None
        return cls(store.read_json(layout.SOURCE))

    def publish(self, store: Store) -> None:
        """Write it to a work folder."""
        store.publish_json(layout.SOURCE, dict(self.settings))


@dataclass(frozen=True, slots=True)
class IngestState:
    """What is done of the images of all shards."""

    states: dict[str, ShardState]
    """By shard: `images` is in it where they are done."""
    relabelled: list[str]
    """Shards that are there, but whose labels the source or a review has corrected since."""
    ids: SourceIds
    """The source's own ids of its images and categories."""


def assign(
    store: Store,
    config: SourceConfig,
    names: Sequence[str],
    publish: bool = True,
) -> dict[str, list[str]]:
    """The source's names by shard.

    Names that were assigned before keep their shards, new ones get new shards. A name that is a
    container of samples gets a shard of its own.

    Raises:
        ValueError: the work folder holds the images of another source, or the source lies in it.
    """
    _check_apart(store, config)
    _check_source(store, config, publish)
    shards: dict[str, list[str]] = {}
    for row in read_assignments(store):
        shards.setdefault(row.shard, []).append(row.name)
    assigned = set()
    for members in shards.values():
        assigned.update(members)
    new = [name for name in names if name not in assigned]
    source, _ = registry.load(config.use)
    size = 1 if source.whole else config.shard_size
    rows = []
    for start in range(0, len(new), size):
        shard = layout.shard_name(len(shards))
        shards[shard] = new[start : start + size]
        rows += [ShardAssignment(shard=shard, name=name) for name in shards[shard]]
    if rows and publish:
        append_assignments(store, rows)
    return shards


def list_source(config: SourceConfig) -> list[str]:
    """The names of the source, at most `limit` of them.

    Raises:
        ValueError: the source is missing or empty.
    """
    return open_source(config).list()[: config.limit]


def open_source(config: SourceConfig) -> Source:
    """The source that a config describes."""
    source: Source = registry.load(config.use)[0](config.options)
    return source


def ingest_state(
    store: Store,
    config: SourceConfig,
    shards: Mapping[str, Sequence[str]],
) -> IngestState:
    """What is done of `shards`, which maps each shard to its names in the source."""
    source = open_source(config)
    done = store.done(IMAGES)
    ids = source.ids() if isinstance(source, SourceWithIds) else SourceIds()
    reviewed = set(reviewed_shards(store))
    result = IngestState({}, [], ids)
    for shard, names in shards.items():
        result.states[shard] = ShardState()
        digests = done.get(shard)
        if digests is None:
            continue
        revision = source.revision(names)
        if shard in reviewed:
            revision = read_reviews(store, shard).revision(revision)
        if revision and digests.inputs != digest(*names, revision):
            result.relabelled.append(shard)
            continue
        result.states[shard] = ShardState({IMAGES: digests})
    return result


def check_keys(store: Store, config: SourceConfig, shards: Sequence[str]) -> None:
    """Check the claim of a source that its keys are unique.

    Duplicate keys within a shard become failed rows. Across shards we trust the source, unless it
    claims that its keys are unique.

    Raises:
        ValueError: the source claims it, and two shards have a sample of the same key.
    """
    claims = []
    for field in fields(config.options):
        value = getattr(config.options, field.name)
        if value and role_of(field).unique:
            claims.append(f"source.{field.name}={value}")
    if not claims:
        return
    read = functools.partial(_hashed_keys, store)
    hashes = list(mapped(read, shards))
    values, counts = np.unique(np.concatenate(hashes), return_counts=True)
    duplicates = values[counts > 1]
    if not len(duplicates):
        return
    twice = duplicates[0]
    here = []
    for shard, own in zip(shards, hashes, strict=True):
        if twice in own:
            here.append(shard)
    keys = [row.key for row in read_images(store, here[0])]
    key = next(key for key in keys if _hashed(key) == twice)
    problem = f"{', '.join(here)} all have an image of the key {key}"
    raise ValueError(f"{claims[0]}: {problem}; leave it unset and give another work")


def _check_apart(store: Store, config: SourceConfig) -> None:
    """Check that the source does not lie in the work folder; the other way round is fine.

    No listing of a source holds a work folder (`stages.sources.files`), but a folder within one
    may be a source of its own: a round of another run.
    """
    path = getattr(config.options, "path", None)
    if not isinstance(path, str):
        return
    source = Store(path)
    if source.local != store.local or source.fs.protocol != store.fs.protocol:
        return
    inner, outer = source.root, store.root
    if store.local:
        inner, outer = os.path.realpath(inner), os.path.realpath(outer)
    if f"{inner}/".startswith(f"{outer}/"):
        raise ValueError(
            f"source.path={path}: it lies in the work folder {store.url}; give another work"
        )


def _check_source(store: Store, config: SourceConfig, publish: bool) -> None:
    """Names identify images within one source only, so a work folder stays with its source."""
    now = SourceIdentity.of(config)
    earlier = SourceIdentity.read(store)
    if earlier is None:
        if publish:
            now.publish(store)
        return
    for key in sorted(earlier.settings.keys() & now.settings.keys()):
        old = earlier.settings[key]
        new = now.settings[key]
        if old != new:
            here = f"{store.url} holds images of {key}={old}"
            raise ValueError(f"source.{key}={new}: {here}; give another work")


def _hashed_keys(store: Store, shard: str) -> np.ndarray:
    """(samples,) uint64: the hashed keys of the good samples of a shard."""
    table = read_parquet(store, layout.images_table(shard)).select(["key", "failed"])
    keys = [row["key"] for row in table.to_pylist() if row["failed"] is None]
    return np.array([_hashed(key) for key in keys], np.uint64)


def _hashed(key: str) -> int:
    """A key as a number, which takes less memory."""
    return int(digest(key), 16)
