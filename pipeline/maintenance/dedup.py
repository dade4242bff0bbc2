"""`fld dedup`: the hashes of all images, a table per shard made by the engine, then one pass that finds duplicates.

In: images. Out: `dedup/<recipe>/groups.parquet` (a row per image that repeats another) and `summary.json`;
`dedup/latest.json` names them. Hashes are resumed and reused as signals are; the pass over them takes memory for all
images: some 700 bytes each, and 32 for each number of an embedding.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.execution.engine import Engine, Step
from pipeline.plan.recipe import fingerprint, recipe_settings
from pipeline.plan.shard_state import Done
from pipeline.storage import layout
from pipeline.storage.images import read_image_bytes, read_images
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Manifest, count_samples, digest
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.store import Store
from stages.dedup import DedupConfig, Duplicate, HashConfig, Hashed, Hashes, duplicates

NODE = "hashes"


class HashShard:
    """The hashes of one shard a call; knows no Ray."""

    def __init__(self, url: str, config: HashConfig, folder: str) -> None:
        self.store, self.config, self.folder = Store(url), config, folder
        self._hashes = Hashes(config)

    def __call__(self, shard: str, done: Done) -> Done:
        keys = [row.key for row in read_images(self.store, shard)]
        data = read_image_bytes(self.store, shard)
        rows: list[Hashed] = []
        for start in range(0, len(keys), self.config.batch_size):
            batch = keys[start : start + self.config.batch_size]
            rows += self._hashes(shard, batch, [next(data) for _ in batch])
        name = layout.hashes_table(self.folder, shard)
        manifest = Manifest(
            shard=shard,
            inputs=done[IMAGES][1],
            files={name: publish_table(self.store, name, Hashed, rows)},
            samples=count_samples(len(keys), [None] * len(rows)),
            reads={IMAGES: done[IMAGES][1]},
        )
        self.store.publish_manifest(self.folder, manifest)
        return {**done, NODE: (manifest.inputs, manifest.output)}


def dedup(store: Store, run: RunConfig, config: DedupConfig) -> dict[str, Any]:
    """Hash what is not hashed yet, find duplicates, publish them; returns the summary."""
    shards = {shard: {IMAGES: done} for shard, done in store.done(IMAGES).items()}
    hashed = _hashed(store, run, config, shards)
    folder, inputs = (
        layout.dedup_folder(_recipe(config)),
        digest(*(hashed[shard][NODE][1] for shard in sorted(hashed))),
    )
    if store.exists(layout.dedup_summary(folder)):
        summary: dict[str, Any] = store.read_json(layout.dedup_summary(folder))
        if summary["inputs"] == inputs:
            return _publish_latest(store, folder, config, summary)
    source = _folder(config)
    rows = [
        row
        for shard in sorted(hashed)
        for row in read_table(store, layout.hashes_table(source, shard), Hashed)
    ]
    found = duplicates(rows, config)
    publish_table(store, layout.dedup_groups(folder), Duplicate, found)
    kinds = Counter(duplicate.kind for duplicate in found)
    summary = {
        "inputs": inputs,
        "images": len(rows),
        "kept": len(rows) - len(found),
        "dropped": dict(sorted(kinds.items())),
        "groups": len({duplicate.kept for duplicate in found}),
        "settings": recipe_settings(config),
    }
    store.publish_json(layout.dedup_summary(folder), summary)
    return _publish_latest(store, folder, config, summary)


def _hashed(
    store: Store, run: RunConfig, config: HashConfig, shards: Mapping[str, Done]
) -> dict[str, Done]:
    folder = _folder(config)
    known = store.done(folder)
    stale = {
        shard: ()
        for shard, found in known.items()
        if shard in shards and found[0] != shards[shard][IMAGES][1]
    }
    store.withdraw(folder, stale)
    todo = {
        shard: {**done, NODE: known[shard]} if shard in known and shard not in stale else done
        for shard, done in shards.items()
    }
    make = functools.partial(HashShard, store.url, config, folder)
    return Engine(run.cluster, store).run("dedup", [Step("dedup", make, (NODE,))], todo)


def _publish_latest(
    store: Store, folder: str, config: HashConfig, summary: dict[str, Any]
) -> dict[str, Any]:
    store.publish_json(layout.DEDUP_LATEST, {"groups": folder, "hashes": _folder(config)})
    return {**summary, "file": store.path(layout.dedup_groups(folder))}


def _folder(config: HashConfig) -> str:
    """Where the hashes lie; thresholds have no part in its name."""
    own = {f.name: getattr(config, f.name) for f in fields(HashConfig)}
    return layout.hashes_folder(_recipe(HashConfig(**own)))


def _recipe(config: HashConfig) -> str:
    return fingerprint({"version": Hashes.version, **recipe_settings(config)})
