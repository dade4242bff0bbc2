"""The samples of a study: rendered scenes with their exact truth as labels, or existing shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.rows import Record
from pipeline.schema import Annotations
from pipeline.storage import layout_training
from pipeline.storage.arrow import to_dict
from pipeline.storage.images import decode_image
from pipeline.storage.manifest import digest
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter
from pipeline.training.data import TrainingSet
from pipeline.training.find import find_training_set
from pipeline.training.shards import ShardFolder
from stages import registry
from stages.base import no_effect
from stages.source import Source

# Scenes in one shard.
SHARD_SIZE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the samples come from: `scenes` or `path`."""

    scenes: int = 0
    """How many scenes are rendered."""
    seed: int = 0
    """Seed of the series of scenes; two seeds never give the same scene."""
    path: str = ""
    """A round, or a folder of a round's shards."""

    def __post_init__(self) -> None:
        if bool(self.path) == bool(self.scenes):
            raise ValueError(f"scenes={self.scenes}, path={self.path!r}: set one of them")

    def without_effect(self) -> Iterator[str]:
        if self.path:
            yield from no_effect(self, ("seed",), "no scenes are rendered; leave it out")


def obtain(store: Store, config: DataConfig) -> tuple[TrainingSet, str]:
    """Return the samples and the digest of their labels.

    Scenes are rendered into the study's folder, unless they are already there.

    Raises:
        ValueError: there are no labelled samples at `config.path`.
    """
    if config.path:
        return find_training_set(config.path)
    source_class, options = registry.load("scenes")
    source = source_class(options(count=config.scenes, seed=config.seed))
    folder = ShardFolder(layout_training.study_scenes(config.seed))
    names = source.list()
    keys: dict[str, list[str]] = {}
    # Shards are rendered one by one, so that not all scenes are in memory at once.
    for start in range(0, config.scenes, SHARD_SIZE):
        part = names[start : start + SHARD_SIZE]
        shard = f"{start:06d}-{len(part)}"
        keys[shard] = [_key(name) for name in part]
        tar = folder.tar(shard)
        if not store.exists(tar):
            publish(store, tar, _rendered(source, part))
    labels = digest("scenes", str(config.scenes), str(config.seed))
    return TrainingSet.listed(store, folder, keys), labels


def _rendered(source: Source, names: Sequence[str]) -> list[tuple[str, bytes, Annotations]]:
    """Render scenes; return the key, the JPEG bytes and the true labels of each."""
    samples = []
    for item in source.read(names):
        assert item.data is not None, f"{item.name} was not rendered"
        assert isinstance(item.truth, Annotations), f"{item.name} was rendered without its truth"
        samples.append((_key(item.name), item.data, item.truth))
    return samples


def publish(store: Store, tar: str, samples: Sequence[tuple[str, bytes, Annotations]]) -> None:
    """Write samples (key, JPEG bytes, annotations) as a shard like those of a round."""
    with store.publishing(tar) as sink:
        writer = TarWriter(sink)
        for key, data, truth in samples:
            image = decode_image(data)
            height, width, _ = image.shape
            record = Record(
                key=key,
                name=f"{key}.jpg",
                width=width,
                height=height,
                sha256=hashlib.sha256(data).hexdigest(),
                annotations=truth,
            )
            text = json.dumps(to_dict(record))
            writer.write(key, {"jpg": data, "json": text.encode()})
        writer.close()


def first(data: TrainingSet, count: int) -> TrainingSet:
    """Return a set of the first `count` samples, in the order of shards; 0 takes all."""
    keys: dict[str, list[str]] = {}
    left = count or len(data)
    for shard in sorted(data.counts):
        if left <= 0:
            break
        taken = list(data.keys(shard)[:left])
        keys[shard] = taken
        left -= len(taken)
    return TrainingSet.listed(data.store, data.node, keys)


def _key(name: str) -> str:
    """Return a sample's key: its name without the extension."""
    return name.split(".")[0]
