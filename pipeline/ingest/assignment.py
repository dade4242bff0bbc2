"""Which shard each name of a source is assigned to, and which shards are done."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np

from pipeline.config.run import RunConfig, SourceConfig
from pipeline.ingest.assignment_log import (
    ShardAssignment,
    append_assignments,
    read_assignments,
)
from pipeline.ingest.known_sources import joined, setting
from pipeline.plan.shard_state import ShardState
from pipeline.storage import layout
from pipeline.storage.images import read_images
from pipeline.storage.layout import IMAGES, STEM
from pipeline.storage.manifest import digest
from pipeline.storage.parquet import read_parquet
from pipeline.storage.reviews import read_reviews, reviewed_shards
from pipeline.storage.sources import WorkSources, publish_source
from pipeline.storage.store import Store
from pipeline.storage.threads import mapped
from stages import registry
from stages.base import role_of
from stages.source import Source, SourceIds, SourceWithIds

# A setting of the single source, and the choice of one, as messages have them.
_SETTING = re.compile(r"(?<![\w/.-])source\.(?=[a-z])")
_CHOICE = re.compile(r"(?<![\w/.-])source=(?=[a-z])")
Names = Mapping[str, Sequence[str]]
"""What the sources of a run list, by the names of the sources."""
Shards = dict[str, list[str]]
"""The shards of one source: its names by shard."""


@dataclass(frozen=True, slots=True)
class IngestState:
    """What is done of the images of the shards of a source."""

    states: dict[str, ShardState]
    """By shard: `images` is in it where they are done."""
    relabelled: list[str]
    """Shards that are there, but whose labels the source or a review has corrected since."""
    ids: SourceIds
    """The source's own ids of its images and categories."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """All names of the sources of a run, with their shards."""

    work: WorkSources
    """The sources of the work folder."""
    shards: dict[str, Shards]
    """By the name of the source."""

    def all(self) -> Shards:
        """The shards of all sources."""
        found: Shards = {}
        for own in self.shards.values():
            found |= own
        return found


def assign(
    store: Store, config: SourceConfig, names: Sequence[str], publish: bool = True
) -> Shards:
    """`assign_all` for a run with a single source: its names by shard."""
    return assign_all(store, {"": config}, {"": names}, publish).shards[""]


def assign_all(
    store: Store, sources: Mapping[str, SourceConfig], names: Names, publish: bool = True
) -> Assigned:
    """The names of all sources by shard.

    Names that were assigned before keep their shards, new ones get new shards. No shard holds
    names of two sources, so a source that joins the others touches none of theirs. A name that is
    a container of samples gets a shard of its own.

    Args:
        store: the work folder.
        sources: the sources of a run by name (`RunConfig.all_sources`).
        names: what they list; of a source that is missing, nothing is new.
        publish: whether new sources and shards are written to the work folder.

    Raises:
        ValueError: the work folder holds the images of a source that is not among them, or a source
            lies in it.
    """
    work = joined(store, sources)
    if publish:
        _publish_new(store, work)
    earlier: Shards = {}
    for row in read_assignments(store):
        earlier.setdefault(row.shard, []).append(row.name)
    by_stem: dict[str, Shards] = {}
    for shard, members in earlier.items():
        by_stem.setdefault(layout.stem_of(shard), {})[shard] = members
    found = {}
    for name, config in sources.items():
        stem = work.stem(name)
        found[name] = by_stem.get(stem, {})
        rows = _add_new(found[name], config, stem, names.get(name, ()))
        if rows and publish:
            append_assignments(store, rows)
    return Assigned(work, found)


def _publish_new(store: Store, work: WorkSources) -> None:
    """Write which sources a work folder holds from now on."""
    if work.single is not None and not store.exists(layout.SOURCE):
        publish_source(store, "", work.single_source())
    for name, source in work.named.items():
        if not store.exists(layout.named_source(name)):
            publish_source(store, name, source)


def _add_new(
    shards: Shards, config: SourceConfig, stem: str, names: Sequence[str]
) -> list[ShardAssignment]:
    """Give the names of a source that are new in `shards` shards of their own; the new rows."""
    assigned = set()
    for members in shards.values():
        assigned.update(members)
    new = [name for name in names if name not in assigned]
    source, _ = registry.load(config.use)
    size = 1 if source.whole else config.shard_size
    rows = []
    for start in range(0, len(new), size):
        shard = layout.shard_name(len(shards), stem)
        shards[shard] = new[start : start + size]
        rows += [ShardAssignment(shard=shard, name=name) for name in shards[shard]]
    return rows


def list_source(config: SourceConfig) -> list[str]:
    """The names of a source, at most `limit` of them.

    Raises:
        ValueError: the source is missing or empty.
    """
    return open_source(config).list()[: config.limit]


def list_sources(run: RunConfig) -> dict[str, list[str]]:
    """The names of all sources of a run, by the names of the sources.

    Raises:
        ValueError: a source is missing or empty.
    """
    found = {}
    for name, config in run.all_sources.items():
        with naming(name):
            found[name] = list_source(config)
    return found


def open_source(config: SourceConfig) -> Source:
    """The source that a config describes."""
    source: Source = registry.load(config.use)[0](config.options)
    return source


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Errors and warnings of a source that has a name say `sources.NAME.` instead of `source.`."""
    if not name:
        yield
        return

    def rename(record: logging.LogRecord) -> bool:
        record.msg = _renamed(record.getMessage(), name)
        record.args = None
        return True

    log = logging.getLogger("fld")
    log.addFilter(rename)
    try:
        yield
    except ValueError as error:
        raise ValueError(_renamed(str(error), name)) from error
    finally:
        log.removeFilter(rename)


def _renamed(message: str, name: str) -> str:
    """A message of a source with the settings of the source `name`; paths in it stay."""
    message = _SETTING.sub(f"{setting(name)}.", message)
    return _CHOICE.sub(f"{setting(name)}.use=", message)


def ingest_state(
    store: Store,
    config: SourceConfig,
    shards: Mapping[str, Sequence[str]],
) -> IngestState:
    """What is done of `shards`, which maps each shard of a source to its names in the source."""
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
        result.states[shard] = ShardState({IMAGES: digests.output})
    return result


def check_keys(store: Store, config: SourceConfig, shards: Sequence[str], name: str = "") -> None:
    """Check the claim of a source that its keys are unique; `name` is that of the source, if any.

    Duplicate keys within a shard become failed rows. Across shards we trust the source, unless it
    claims that its keys are unique.

    Raises:
        ValueError: the source claims it, and two shards have a sample of the same key.
    """
    claims = []
    for field in fields(config.options):
        value = getattr(config.options, field.name)
        if value and role_of(field).unique:
            claims.append(f"{setting(name, field.name)}={value}")
    if claims:
        _check_unique(store, shards, claims[0], "leave it unset and give another work")


def check_first_keys(store: Store, work: WorkSources, shards: Sequence[str]) -> None:
    """Check that no key of a source that was once the only one is that of another source, too.

    Its keys do not begin with its name, so they may begin with that of another source.

    Raises:
        ValueError: two sources have a sample of the same key.
    """
    for name, source in work.named.items():
        if source.stem == STEM:
            advice = "give another work, in which all keys begin with names"
            _check_unique(store, shards, setting(name), advice)


def _check_unique(store: Store, shards: Sequence[str], claim: str, advice: str) -> None:
    """Check that no two shards have a sample of the same key.

    Raises:
        ValueError: two have; the message begins with `claim` and ends with `advice`.
    """
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
    raise ValueError(f"{claim}: {', '.join(here)} all have an image of the key {key}; {advice}")


def _hashed_keys(store: Store, shard: str) -> np.ndarray:
    """(samples,) uint64: the hashed keys of the good samples of a shard."""
    table = read_parquet(store, layout.images_table(shard)).select(["key", "failed"])
    keys = [row["key"] for row in table.to_pylist() if row["failed"] is None]
    return np.array([_hashed(key) for key in keys], np.uint64)


def _hashed(key: str) -> int:
    """A key as a number, which takes less memory."""
    return int(digest(key), 16)
