"""The samples that the report shows, read from the shards of a work folder."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.views import PictureView
from pipeline.rows import ImageRow, Record
from pipeline.storage import layout
from pipeline.storage.arrow import from_table
from pipeline.storage.images import read_image, read_images, read_truth
from pipeline.storage.parquet import read_parquet
from pipeline.storage.round_parts import read_parts, shards_with
from pipeline.storage.store import Store

_SEED = 0
"""Of the samples that come in by chance: the same set gives the same report."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a sample lies."""

    shard: str
    number: int
    """Its place among the images of the shard that can be annotated."""


def read_pictures(
    store: Store, rounds: Sequence[str], limit: int, keys: Iterable[str] = ()
) -> list[PictureView]:
    """Given samples, and others by chance, with their annotations in every round.

    Args:
        store: of the work folder.
        rounds: names of rounds. Only shards that all of them have are looked at.
        limit: how many samples at most.
        keys: the samples to show first of all; those after the first `limit` are left out.
    """
    sizes = _shard_sizes(store, rounds)
    named = list(dict.fromkeys(keys))[:limit]
    places = set(_find(store, rounds[0], sizes, named))
    places.update(_by_chance(sizes, places, limit - len(places)))
    views: list[PictureView] = []
    for shard, of_shard in itertools.groupby(sorted(places), key=_shard_of):
        wanted = [place.number for place in of_shard]
        views += _pictures_of(store, rounds, shard, wanted)
    return views


def drawn(total: int, count: int) -> list[int]:
    """Up to `count` positions in a list of `total` things: one by chance in each of equal parts."""
    count = min(total, count)
    chance = random.Random(_SEED)
    positions = []
    for number in range(count):
        first = number * total // count
        end = (number + 1) * total // count
        positions.append(chance.randrange(first, end))
    return positions


def _shard_of(place: Place) -> str:
    return place.shard


def _find(
    store: Store, round_name: str, sizes: Mapping[str, int], keys: Sequence[str]
) -> Iterator[Place]:
    """The places of some samples. A shard is read if its range of keys has one of them."""
    parts = read_parts(store, layout.named_round(round_name))
    candidates: dict[str, set[str]] = {}
    for key in keys:
        for shard in shards_with(parts, key):
            if shard in sizes:
                candidates.setdefault(shard, set()).add(key)
    left = set(keys)
    for shard in sorted(candidates):
        if left.isdisjoint(candidates[shard]):
            continue
        for number, row in enumerate(read_images(store, shard)):
            if row.key in left:
                left.remove(row.key)
                yield Place(shard, number)


def _by_chance(sizes: Mapping[str, int], taken: Iterable[Place], count: int) -> Iterator[Place]:
    """Up to `count` places that are not taken, from all parts of the set."""
    first = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=0), strict=False))
    skipped = sorted(first[place.shard] + place.number for place in taken)
    others = sum(sizes.values()) - len(skipped)
    shards = iter(sizes)
    shard = ""
    end = before = 0
    for position in drawn(others, count):
        # Positions count the places that are not taken; here it becomes one among all places.
        position += before
        while before < len(skipped) and skipped[before] <= position:
            before += 1
            position += 1
        while position >= end:
            shard = next(shards)
            end += sizes[shard]
        yield Place(shard, position - first[shard])


def _shard_sizes(store: Store, rounds: Sequence[str]) -> dict[str, int]:
    """The samples of each shard that all of the rounds have, in the order of their names."""
    first, *others = rounds
    counts = store.counts(layout.named_round(first))
    shards = set(counts)
    for name in others:
        folder = layout.named_round(name)
        shards &= set(store.done(folder))
    sizes = {}
    for shard in sorted(shards):
        sizes[shard] = counts[shard].given
    return sizes


def _pictures_of(
    store: Store,
    rounds: Sequence[str],
    shard: str,
    wanted: Sequence[int],
) -> Iterator[PictureView]:
    """The samples number `wanted` of one shard."""
    images = read_images(store, shard)
    rows = [images[number] for number in wanted]
    records: dict[str, list[Record]] = {}
    for name in rounds:
        folder = layout.named_round(name)
        table = read_parquet(store, layout.round_table(folder, shard))
        records[name] = from_table(Record, table.take(wanted))
    truth = read_truth(store, shard)
    for i, data in enumerate(_read_members(store, shard, rows)):
        row = rows[i]
        annotations = {}
        failures = {}
        for name in rounds:
            record = records[name][i]
            assert record.key == row.key, f"{name}: {shard} is not in the order of its images"
            annotations[name] = record.annotations
            failures[name] = record.failures
        yield PictureView(
            key=row.key,
            image=data,
            size=(row.width or 0, row.height or 0),
            rounds=annotations,
            failures=failures,
            truth=truth.get(row.key),
        )


def _read_members(store: Store, shard: str, rows: Sequence[ImageRow]) -> Iterator[bytes]:
    """The stored bytes of some images of a shard; the others are not read."""
    with store.open(layout.images_tar(shard)) as tar:
        for row in rows:
            yield read_image(store, shard, tar, row)
