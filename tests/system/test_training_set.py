"""The data of a training run, over the first round of the small run."""

from itertools import islice
from pathlib import Path

import pytest

from pipeline.config import Entry
from pipeline.lineage import Node
from pipeline.schema import Record
from pipeline.store import Store
from pipeline.training_set import TrainingSet


@pytest.fixture
def data(small_run: Path) -> TrainingSet:
    from pipeline.records import read_rows

    store = Store(str(small_run))
    (folder,) = small_run.glob("rounds/00-*")
    entry = Entry(name="round", use="round", options=None)
    name = f"rounds/{folder.name}"
    node = Node(name="0.round", entry=entry, round=0, reads=(), fingerprint="", folder=name, kind="round")
    rows: dict[str, list[Record]] = {shard: read_rows(store, node, shard) for shard in store.done(name)}
    return TrainingSet(store, node, {shard: [row.key for row in records] for shard, records in rows.items()})


def keys(
    data: TrainingSet, steps: int, *, first: int = 0, size: int = 5, rank: int = 0, ranks: int = 1
) -> list[list[str]]:
    return [[s.key for s in batch] for batch in islice(data.batches(first, size, 7, rank, ranks), steps)]


def test_an_epoch_shows_every_sample_once_and_the_next_in_another_order(data: TrainingSet) -> None:
    seen = [key for batch in keys(data, 8, size=3) for key in batch]
    assert len(data) == 12
    assert set(seen[:12]) == set(seen[12:]) and len(set(seen[:12])) == 12
    assert seen[:12] != seen[12:]


def test_a_run_that_resumes_at_a_step_sees_what_it_would_have_seen(data: TrainingSet) -> None:
    whole = keys(data, 9)
    for step in range(9):
        assert keys(data, 9 - step, first=step) == whole[step:]


def test_ranks_share_out_the_global_batch(data: TrainingSet) -> None:
    parts = [keys(data, 4, rank=rank, ranks=2) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == keys(data, 4)


def test_dropped_annotations_are_not_learnt(data: TrainingSet) -> None:
    for batch in islice(data.batches(0, 4, 0, 0, 1), 3):
        assert all(a.dropped is None for sample in batch for a in sample.annotations.all())
