"""The samples that the report shows, read from the shards of a work folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from pipeline.report.views import PictureView
from pipeline.schema import ImageRow, Record
from pipeline.storage import layout
from pipeline.storage.arrow import from_table
from pipeline.storage.images import read_images, read_truth
from pipeline.storage.parquet import read_parquet
from pipeline.storage.store import Store


def read_pictures(store: Store, rounds: Sequence[str], limit: int) -> list[PictureView]:
    """Samples evenly spread over the set, with their annotations in every round.

    Args:
        store: of the work folder.
        rounds: names of rounds. Only shards that all of them have are looked at.
        limit: how many samples at most.
    """
    sizes = _shard_sizes(store, rounds)
    positions = deque(spread(sum(sizes.values()), limit))
    views: list[PictureView] = []
    first = 0
    for shard, size in sizes.items():
        # Both are in ascending order, so each position is looked at once.
        wanted = []
        while positions and positions[0] < first + size:
            wanted.append(positions.popleft() - first)
        first += size
        if wanted:
            views += _pictures_of(store, rounds, shard, wanted)
    return views


def spread(total: int, limit: int) -> list[int]:
    """Up to `limit` positions in a list of `total` things, at even distances from its start."""
    count = min(total, limit)
    return [number * total // count for number in range(count)]


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
    with store.open(layout.images_tar(shard)) as file:
        for row in rows:
            assert row.offset is not None, f"{row.key} is stored, but nobody wrote where"
            assert row.size is not None, f"{row.key} is stored, but nobody wrote its size"
            file.seek(row.offset)
            yield file.read(row.size)
