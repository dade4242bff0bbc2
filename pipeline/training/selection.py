"""Which samples of a round are trained on: by their keys, and by the labels that they have.

The workers of a training find the keys in the index of each shard. The driver knows only how many
there are in each shard (`count_selectable`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.quality.summary import Summary
from pipeline.schema import KINDS, IndexRow
from stages.base import fold_of, held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Labelled samples of a round; without settings all of them."""

    held_out: float = 0.0
    """Share of the samples that are left out (`held_out`)."""
    texts: tuple[str, ...] = ()
    """Only samples with a text of one of these granularities; empty: with any label."""
    folds: int = 1
    """How many parts the samples are divided into."""
    fold: int | None = None
    """The part that is left out; None: no part is."""

    def takes(self, row: IndexRow) -> bool:
        """Whether a sample is trained on."""
        if self.fold is not None and fold_of(row.key, self.folds) == self.fold:
            return False
        return self._has_labels(row) and not held_out(row.key, self.held_out)

    def count(self, counted: Summary) -> int:
        """How many samples of a shard it takes, from what `count_selectable` has counted."""
        if self.texts:
            number: int = counted["with_texts"]
            return number
        by_fold: dict[str, int] = counted["by_fold"]
        return sum(by_fold.values()) - by_fold.get(str(self.fold), 0)

    def _has_labels(self, row: IndexRow) -> bool:
        if self.texts:
            return not set(self.texts).isdisjoint(row.granularities)
        return is_labelled(row)


def is_labelled(row: IndexRow) -> bool:
    """Whether any label of a sample is kept."""
    return any(getattr(row, kind) for kind in KINDS)


def count_selectable(rows: Iterable[IndexRow], selection: Selection) -> Summary:
    """How many samples of a shard can be selected, for `Selection.count`.

    `selection` has the number of folds and the texts. It leaves out no fold.
    """
    by_fold: Counter[str] = Counter()
    with_texts = 0
    for row in rows:
        if held_out(row.key, selection.held_out):
            continue
        if is_labelled(row):
            by_fold[str(fold_of(row.key, selection.folds))] += 1
        if not set(selection.texts).isdisjoint(row.granularities):
            with_texts += 1
    return {"by_fold": by_fold, "with_texts": with_texts}
