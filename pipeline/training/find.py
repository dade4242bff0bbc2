"""Finds the samples that can be trained on at a URL: a round, a folder of shards, a work folder."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pipeline.rows import Record
from pipeline.storage import layout
from pipeline.storage.arrow import from_dict
from pipeline.storage.manifest import digest
from pipeline.storage.round_parts import read_parts
from pipeline.storage.rounds import read_head
from pipeline.storage.store import Store
from pipeline.training.data import IndexedKeys, TrainingSet
from pipeline.training.selection import Selection
from pipeline.training.shards import ShardFolder, ShardLocation, read_members


def find_training_set(url: str) -> tuple[TrainingSet, str]:
    """Find all labelled samples at `url`, and the digest of their labels.

    `url` names a round, a folder of a round's shards, or a work folder, which stands for its head.

    Raises:
        ValueError: there are no shards, or they hold no labels.
    """
    store, folder = _open(url)
    name = layout.round_shards(folder) if store.list(layout.round_shards(folder)) else folder
    found = [layout.shard_of_tar(file) for file in store.list(name)]
    shards = [shard for shard in found if shard is not None]
    if not shards:
        raise ValueError(
            f"{url}: no shards there; give WORK, WORK/rounds/NN-.. or a folder of .tar files "
            "of a round"
        )
    location = ShardFolder(name)
    parts = read_parts(store, folder)
    if parts:
        counts = {part.shard: part.labelled for part in parts if part.labelled}
        data = TrainingSet(store, location, IndexedKeys(folder, Selection()), counts)
        labels = digest(store.read(layout.round_parts(folder)).hex())
    else:
        keys, labels = _scan(store, location, shards)
        data = TrainingSet.listed(store, location, keys)
    if not len(data):
        raise ValueError(f"{url}: no labelled sample in {len(shards)} shards; nothing to train on")
    return data, labels


def _open(url: str) -> tuple[Store, str]:
    """Open what `url` names; return the store, and the folder of the round or of the shards in it.

    A round is opened in its work folder, which may hold its images.
    """
    store = Store(url)
    split = layout.split_round(store.url)
    if split:
        work, folder = split
        return Store(work), folder
    head = read_head(store)
    return store, head.folder if head else ""


def _scan(
    store: Store, location: ShardLocation, shards: Sequence[str]
) -> tuple[dict[str, list[str]], str]:
    """Read the records of shards that have no index.

    Returns the keys of the labelled samples by shard, and the digest of all records.
    """
    keys: dict[str, list[str]] = {}
    records: list[str] = []
    for shard in shards:
        keys[shard] = []
        for key, members in read_members(store, location.tar(shard)):
            text = members["json"].decode()
            records.append(text)
            record = from_dict(Record, json.loads(text))
            labels = record.annotations.kept()
            if len(labels):
                keys[shard].append(key)
    return keys, digest(*records)
