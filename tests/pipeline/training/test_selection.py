"""Which samples are trained on, and how many the driver expects."""

from __future__ import annotations

import pytest

from pipeline.rows import IndexRow
from pipeline.training.selection import HeldOut, Selection, count_selectable
from stages.base import fold_of, held_out

HELD_OUT = HeldOut(share=0.3, human_share=0.6)


def _rows() -> list[IndexRow]:
    """Samples with a brief text; every third has a detailed one, and every fifth has no label."""
    rows = []
    for number in range(200):
        granularities = ["brief", "detailed"] if number % 3 == 0 else ["brief"]
        if number % 5 == 0:
            granularities = []
        row = IndexRow(
            key=f"image_{number}",
            shard="shard-000000",
            image_offset=0,
            image_size=1,
            json_offset=1,
            json_size=1,
            width=1,
            height=1,
            texts=len(granularities),
            regions=0,
            text_regions=0,
            triplets=0,
            granularities=granularities,
        )
        rows.append(row)
    return rows


@pytest.mark.parametrize("fold", [None, 0, 1, 2])
@pytest.mark.parametrize("texts", [(), ("detailed",)])
def test_as_many_samples_are_taken_as_were_counted(fold: int | None, texts: tuple[str]) -> None:
    everything = Selection(held_out=HELD_OUT, texts=("detailed",), folds=3)
    human = {row.key for row in _rows()[::4]}
    counted = count_selectable(_rows(), everything, human)
    selection = Selection(held_out=HELD_OUT, texts=texts, folds=3, fold=None if texts else fold)
    taken = [row for row in _rows() if selection.takes(row, row.key in human)]
    assert len(taken) == selection.count(counted) > 0
    for row in taken:
        assert not held_out(row.key, 0.6 if row.key in human else 0.3) and row.texts
        assert not texts or "detailed" in row.granularities
        assert fold is None or texts or fold_of(row.key, 3) != fold


def test_more_of_the_samples_with_human_labels_are_held_out_and_never_fewer() -> None:
    keys = [row.key for row in _rows()]

    def share(held_out: HeldOut, is_human: bool) -> float:
        return sum(held_out.has(key, is_human) for key in keys) / len(keys)

    half = HeldOut(share=0.1, human_share=0.5)
    assert share(half, is_human=False) == pytest.approx(0.1, abs=0.05)
    assert share(half, is_human=True) == pytest.approx(0.5, abs=0.08)
    for key in keys:
        assert half.has(key, is_human=True) or not half.has(key, is_human=False)
    plain = HeldOut(share=0.3)
    assert share(plain, is_human=True) == share(plain, is_human=False) > 0.2
