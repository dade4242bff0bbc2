"""Which source an image of a work folder came from: the one place that knows it.

The shards of a source that has a name (`sources.NAME`) begin with that name, and so do the keys of
its samples: shard `coco-000003`, key `coco_000000000139`. Such a name has no underscore, so keys of
two sources cannot clash. A run with a single source (`source=`) has shards `shard-NNNNNN` and keys
without a name before them. If its source gets a name later, because others come in, its shards and
keys stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.layout import STEM
from pipeline.storage.store import Store
from stages.source import make_key

# What `source.json` says where each source has a file of its own.
SEVERAL: Json = {"several": layout.SOURCES.rpartition("/")[2]}


@dataclass(frozen=True, slots=True)
class StoredSource:
    """`sources/NAME.json`: a source whose images a work folder holds."""

    settings: Json
    """`use`, and the settings that decide what the names of the source mean."""
    stem: str
    """How its shards begin: its name, or `STEM` if it was the only source of an earlier run."""


@dataclass(frozen=True, slots=True)
class WorkSources:
    """The sources of a work folder."""

    named: Mapping[str, StoredSource] = field(default_factory=dict)
    """By name; empty for the single source of a run, and before the first run."""
    single: Json | None = None
    """The settings of the source that had no name when its images came in."""

    @property
    def several(self) -> bool:
        """Whether sources have names here, so that something can be told apart by them."""
        return bool(self.named)

    def single_source(self) -> StoredSource:
        """The source that had no name when its images came in."""
        assert self.single is not None, "all sources have names"
        return StoredSource(self.single, STEM)

    def stems(self) -> list[str]:
        """How the shards of each source begin; `STEM` alone for a single source without a name."""
        return sorted(source.stem for source in self.named.values()) or [STEM]

    def stem(self, name: str) -> str:
        """How the shards of a source begin; `name` is "" for the single source of a run."""
        if not name:
            return STEM
        return self.named[name].stem if name in self.named else name

    def of(self, shard: str) -> str:
        """The name of the source of a shard, "" for the single source of a run."""
        stem = layout.stem_of(shard)
        for name, source in self.named.items():
            if source.stem == stem:
                return name
        return ""

    def of_key(self, key: str) -> str:
        """The name of the source of a sample by its key alone, where its shard is not at hand."""
        start = key.partition("_")[0]
        if start in self.named and self.named[start].stem == start:
            return start
        return self.of(layout.shard_name(0))

    def full_name(self, shard: str, name: str) -> str:
        """The name of an image in its source, with the name of the source before it, if any."""
        source = self.of(shard)
        return f"{source}/{name}" if source else name

    def shards_by_source(self, shards: Iterable[str]) -> dict[str, list[str]]:
        """Some shards by the names of their sources, both in alphabetical order."""
        found: dict[str, list[str]] = {}
        for shard in sorted(shards):
            found.setdefault(self.of(shard), []).append(shard)
        return dict(sorted(found.items()))


def read_sources(store: Store) -> WorkSources:
    """The sources of a work folder."""
    named = {}
    for file in store.list(layout.SOURCES):
        name = layout.name_of_source(file)
        named[name] = StoredSource(**store.read_json(layout.named_source(name)))
    single = None
    if store.exists(layout.SOURCE):
        single = store.read_json(layout.SOURCE)
    return WorkSources(named, None if single == SEVERAL else single)


def publish_source(store: Store, name: str, source: StoredSource) -> None:
    """Write that a work folder holds the images of a source; files of other sources stay."""
    if not store.exists(layout.SOURCE):
        store.publish_json(layout.SOURCE, SEVERAL if name else dict(source.settings))
    if name:
        value = {"settings": dict(source.settings), "stem": source.stem}
        store.publish_json(layout.named_source(name), value)


def key_of(shard: str, name: str) -> str:
    """The key of a sample of a shard, by its own key or its name in the source."""
    stem = layout.stem_of(shard)
    key = make_key(name)
    return key if stem == STEM else f"{stem}_{key}"
