"""What a study trains and is tested on: rendered scenes with their exact truth as labels, or shards that are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.schema import Annotations, Record
from pipeline.storage import layout
from pipeline.storage.arrow import to_dict
from pipeline.storage.images import decode_image
from pipeline.storage.manifest import digest
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter
from pipeline.training.data import Folder, TrainingSet, find
from stages import registry

SHARD_SIZE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """`scenes` rendered ones of the series that `seed` names, or the round or folder of round shards at `path`."""

    scenes: int = 0
    seed: int = 0
    path: str = ""

    def __post_init__(self) -> None:
        if bool(self.path) == bool(self.scenes):
            raise ValueError(f"scenes={self.scenes}, path={self.path!r}: set one of them")


def obtain(store: Store, config: DataConfig) -> tuple[TrainingSet, str]:
    """The samples and the digest of their labels; scenes are rendered into the study's folder, once."""
    if config.path:
        return find(config.path)
    cls, options = registry.load("scenes")
    source = cls(options(count=config.scenes, seed=config.seed))
    folder = Folder(layout.study_scenes(config.seed))
    listed = source.list()
    keys = {}
    for start in range(0, config.scenes, SHARD_SIZE):
        part = listed[start : start + SHARD_SIZE]
        shard = f"{start:06d}-{len(part)}"
        keys[shard] = [_key(name) for name in part]
        if not store.exists(folder.tar(shard)):
            publish(
                store,
                folder.tar(shard),
                [(_key(i.name), i.data, i.truth) for i in source.read(part)],
            )
    return TrainingSet(store, folder, keys), digest("scenes", str(config.scenes), str(config.seed))


def publish(store: Store, tar: str, samples: Sequence[tuple[str, bytes, Annotations]]) -> None:
    """Write (key, JPEG bytes, annotations) as a shard like those of a round."""
    with store.publishing(tar) as sink:
        writer = TarWriter(sink)
        for key, data, truth in samples:
            height, width = decode_image(data).shape[:2]
            record = Record(
                key=key,
                name=f"{key}.jpg",
                width=width,
                height=height,
                sha256=hashlib.sha256(data).hexdigest(),
                annotations=truth,
            )
            writer.write(key, {"jpg": data, "json": json.dumps(to_dict(record)).encode()})
        writer.close()


def first(data: TrainingSet, count: int) -> TrainingSet:
    """The first `count` samples; 0 for all."""
    keys: dict[str, list[str]] = {}
    left = count or len(data)
    for shard, each in sorted(data.keys.items()):
        if left > 0:
            keys[shard] = list(each[:left])
            left -= len(keys[shard])
    return replace(data, keys=keys)


def _key(name: str) -> str:
    return name.split(".")[0]
