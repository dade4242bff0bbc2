"""Which samples of a round are trained on: by their keys, and by the labels that they have.

The workers of a training find the keys in the index of each shard. The driver knows only how many
there are in each shard (`count_selectable`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipeline.config.run import GateConfig
from pipeline.quality.summary import Summary
from pipeline.rows import IndexRow
from pipeline.schema import KINDS, Annotations
from pipeline.storage.images import read_given
from pipeline.storage.store import Store
from stages.base import fold_of, held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Which samples no training sees, so that rounds are judged by them."""

    share: float
    """Share of all samples."""
    human_share: float = 0.0
    """Share of the samples with human labels, if it is larger than `share`."""

    def has(self, key: str, is_human: bool) -> bool:
        """Whether a sample is held out; `is_human` says whether it has human labels."""
        share = max(self.share, self.human_share) if is_human else self.share
        return held_out(key, share)

    def human_keys(self, store: Store, shard: str) -> frozenset[str]:
        """The keys of a shard's samples with human labels; empty if that makes no difference."""
        if self.human_share <= self.share:
            return frozenset()
        return human_keys(store, shard)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Labelled samples of a round; without settings all of them."""

    held_out: HeldOut = HeldOut(share=0.0)
    """The samples that are left out."""
    texts: tuple[str, ...] = ()
    """Only samples with a text of one of these granularities; empty: with any label."""
    folds: int = 1
    """How many parts the samples are divided into."""
    fold: int | None = None
    """The part that is left out; None: no part is."""

    def takes(self, row: IndexRow, is_human: bool = False) -> bool:
        """Whether a sample is trained on; `is_human` says whether it has human labels."""
        if self.fold is not None and fold_of(row.key, self.folds) == self.fold:
            return False
        return self._has_labels(row) and not self.held_out.has(row.key, is_human)

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


def count_selectable(
    rows: Iterable[IndexRow], selection: Selection, human: Collection[str] = ()
) -> Summary:
    """How many samples of a shard can be selected, for `Selection.count`.

    `selection` has the number of folds and the texts. It leaves out no fold. `human` are the keys
    of the samples with human labels.
    """
    by_fold: Counter[str] = Counter()
    with_texts = 0
    for row in rows:
        if selection.held_out.has(row.key, row.key in human):
            continue
        if is_labelled(row):
            by_fold[str(fold_of(row.key, selection.folds))] += 1
        if not set(selection.texts).isdisjoint(row.granularities):
            with_texts += 1
    return {"by_fold": by_fold, "with_texts": with_texts}


def human_keys(store: Store, shard: str) -> frozenset[str]:
    """The keys of a shard's samples that people have labelled or reviewed."""
    given = read_given(store, shard)
    return frozenset(key for key, labels in given.items() if has_human_labels(labels))


def has_human_labels(annotations: Annotations) -> bool:
    """Whether people have labelled or reviewed a sample.

    That they found nothing in it counts, too.
    """
    return any(label.locked for label in annotations.all())


def held_out_of(gate: GateConfig) -> HeldOut:
    """The samples that the settings of the gate keep out of training."""
    return HeldOut(share=gate.held_out, human_share=gate.held_out_human)
