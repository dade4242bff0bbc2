"""`fld dedup`: hashes of all images, then one pass that finds duplicates.

In: images. Out: `groups.parquet` (one row per image that repeats another) and `summary.json`;
`latest.json` names their folder. Hashes are made by the engine, one table per shard, and are
resumed and reused as signals are. The pass over them needs memory for all images: about 260 bytes
each, and 8 bytes for each number of an embedding.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields

from pipeline.config.run import RunConfig
from pipeline.execution.engine import Engine
from pipeline.execution.steps import Runner, Step
from pipeline.plan.recipe import fingerprint, recipe_settings
from pipeline.plan.shard_state import ShardState
from pipeline.storage import layout_dedup
from pipeline.storage.images import read_image_bytes, read_images
from pipeline.storage.json_types import Json
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Manifest, count_samples, digest
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.sources import read_sources
from pipeline.storage.store import Store
from stages.dedup import (
    DedupConfig,
    Duplicate,
    HashConfig,
    Hashed,
    Hashes,
    HashTable,
    duplicates,
)

HASHES = "hashes"
"""How the hashes are called in the state of a shard."""


class HashShard:
    """Makes the hashes of one shard per call; knows no Ray."""

    def __init__(self, url: str, config: HashConfig, folder: str) -> None:
        self.store = Store(url)
        self.config = config
        self.folder = folder
        self._hashes = Hashes(config)

    def __call__(self, shard: str, state: ShardState) -> ShardState:
        """Hash the images of a shard; returns its state with the hashes added."""
        keys = [row.key for row in read_images(self.store, shard)]
        images = read_image_bytes(self.store, shard)
        rows: list[Hashed] = []
        for start in range(0, len(keys), self.config.batch_size):
            batch = keys[start : start + self.config.batch_size]
            rows += self._hashes(shard, batch, [next(images) for _ in batch])
        name = layout_dedup.hashes_table(self.folder, shard)
        manifest = Manifest(
            shard=shard,
            inputs=state.output(IMAGES),
            files={
                name: publish_table(
                    self.store,
                    name,
                    Hashed,
                    rows,
                )
            },
            samples=count_samples(len(keys), [None] * len(rows)),
            reads={IMAGES: state.output(IMAGES)},
        )
        self.store.publish_manifest(self.folder, manifest)
        return state.with_(HASHES, manifest.digests)


def dedup(store: Store, run: RunConfig, config: DedupConfig) -> Json:
    """Hash the images that are not hashed yet, find duplicates, and publish them.

    Returns the summary: counts of images, kept and dropped ones, and groups of duplicates; of
    several sources also how many images repeat one of another source.
    """
    shards = {}
    for shard, digests in store.done(IMAGES).items():
        shards[shard] = ShardState({IMAGES: digests.output})
    hashed = hash_images(store, Engine(run.cluster, store), config, shards)
    folder = layout_dedup.dedup_folder(_recipe(config))
    inputs = digest(*(hashed[shard].output(HASHES) for shard in sorted(hashed)))
    name = layout_dedup.dedup_summary(folder)
    if store.exists(name):
        earlier = store.read_json(name)
        if earlier["inputs"] == inputs:
            return _publish_latest(store, folder, config, earlier)
    table = read_hashes(store, config, hashed)
    images = len(table)
    found = duplicates(table, config)
    publish_table(
        store,
        layout_dedup.dedup_groups(folder),
        Duplicate,
        found,
    )
    kinds = Counter(duplicate.kind for duplicate in found)
    summary: Json = {
        "inputs": inputs,
        "images": images,
        "kept": images - len(found),
        "dropped": dict(sorted(kinds.items())),
        "groups": len({duplicate.kept for duplicate in found}),
        "settings": recipe_settings(config),
    }
    summary.update(_across_sources(store, found))
    store.publish_json(name, summary)
    return _publish_latest(store, folder, config, summary)


def _across_sources(store: Store, found: Iterable[Duplicate]) -> Json:
    """Of several sources, how many images repeat one of another source."""
    work = read_sources(store)
    if not work.several:
        return {}
    across = [row for row in found if work.of(row.shard) != work.of_key(row.kept)]
    return {"across_sources": len(across)}


def hash_images(
    store: Store,
    runner: Runner,
    config: HashConfig,
    shards: Mapping[str, ShardState],
) -> dict[str, ShardState]:
    """The states of all shards with their hashes, made now where they are missing or stale."""
    folder = hashes_folder(config)
    done = store.done(folder)
    stale: dict[str, tuple[str, ...]] = {}
    todo = {}
    for shard, state in shards.items():
        todo[shard] = state
        if shard not in done:
            continue
        if done[shard].inputs == state.output(IMAGES):
            todo[shard] = state.with_(HASHES, done[shard])
        else:
            stale[shard] = ()
    store.withdraw(folder, stale)
    make = functools.partial(
        HashShard,
        store.url,
        config,
        folder,
    )
    return runner.run("dedup", [Step("dedup", make, (HASHES,))], todo)


def read_hashes(store: Store, config: HashConfig, shards: Collection[str]) -> HashTable:
    """The hashes of some shards."""
    folder = hashes_folder(config)
    parts = [HashTable.of([])]
    for shard in sorted(shards):
        rows = read_table(store, layout_dedup.hashes_table(folder, shard), Hashed)
        if rows:
            parts.append(HashTable.of(rows))
    # The first part is there for a work folder without images; it has no embeddings to join.
    return HashTable.joined(parts[1:] or parts)


def _publish_latest(
    store: Store,
    folder: str,
    config: HashConfig,
    summary: Json,
) -> Json:
    """Name the newest result; returns the summary with the file to read."""
    latest = {
        "groups": folder,
        "hashes": hashes_folder(config),
    }
    store.publish_json(layout_dedup.DEDUP_LATEST, latest)
    groups = layout_dedup.dedup_groups(folder)
    return {**summary, "file": store.path(groups)}


def hashes_folder(config: HashConfig) -> str:
    """Where the hashes lie. Thresholds do not change hashes, so they are not part of the name."""
    own = {field.name: getattr(config, field.name) for field in fields(HashConfig)}
    return layout_dedup.hashes_folder(_recipe(HashConfig(**own)))


def _recipe(config: HashConfig) -> str:
    """The fingerprint of the settings that change results."""
    recipe = {"version": Hashes.version, **recipe_settings(config)}
    return fingerprint(recipe)
