"""What a round counts: annotations kept and dropped, failures, changes, scores against truth.

It also ranks its samples: those of which least is known, and those in which most labels changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from pipeline.quality import truth
from pipeline.quality.doubt import doubt_of
from pipeline.quality.ranking import Ranked, Ranking
from pipeline.quality.summary import Summary
from pipeline.refinement.changes import changed_labels, tally
from pipeline.rows import Record
from pipeline.schema import KINDS, Annotations
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import count_annotations
from pipeline.training.selection import HeldOut, has_human_labels

ALL, TRAINED, HELD_OUT = "all", "trained", "held_out"
"""The parts of the samples for which `metrics.json` gives scores."""

LEAST_SURE, MOST_CHANGED = "least_sure", "most_changed"
"""The rankings of `metrics.json`: by doubt, and by the number of changed labels."""

Counters = dict[str, Counter[str]]
"""By kind or stage, counts by reason."""


class RoundCounts:
    """The counts of a round.

    `summary` makes a part of a summary of them, and `metrics` reads the sum of such parts.
    """

    def __init__(self, held_out: HeldOut) -> None:
        self.held_out = held_out
        self.samples = 0
        self.kept: Counter[str] = Counter()
        """Kept annotations by kind."""
        self.dropped: Counters = {kind: Counter() for kind in KINDS}
        """Dropped annotations by kind and reason."""
        self.failed: Counters = {}
        """Failures by stage and reason."""
        self.changed: Counters = {kind: Counter() for kind in KINDS}
        """By kind, what became of the annotations of the head and of the new ones."""
        self.scored: dict[str, np.ndarray] = {}
        """The counts of the samples with truth, by part: (len(METRICS), 3) int64."""
        self.doubts: list[Ranked] = []
        """The samples that have a doubt."""
        self.changes: list[Ranked] = []
        """The samples of which labels changed, with their number."""

    def add_shard(
        self,
        records: Sequence[Record],
        before: Sequence[Record] | None,
        known: Mapping[str, Annotations],
    ) -> None:
        """Count one shard.

        Args:
            records: the records of the round.
            before: those of the head; None for round 0, which has none.
            known: the truth, by the key of the sample.
        """
        self.samples += len(records)
        labels = [record.annotations for record in records]
        counts = count_annotations(labels)
        for kind, count in counts.items():
            self.kept[kind] += count["kept"]
            self.dropped[kind].update(count["dropped"])
        if before is not None:
            self._add_changes(before, records)
        for record in records:
            doubt = doubt_of(record.annotations)
            if doubt is not None:
                self.doubts.append(Ranked(record.key, doubt))
            for failure in record.failures:
                reasons = self.failed.setdefault(failure.stage, Counter())
                reasons[failure.reason] += 1
            if record.key in known:
                self._add_score(record, known[record.key])

    def _add_changes(self, before: Sequence[Record], after: Sequence[Record]) -> None:
        """Count what became of the labels; both rounds have the same samples in the same order."""
        for old, new in zip(before, after, strict=True):
            fates = tally(old.annotations, new.annotations)
            for kind, counts in fates.items():
                self.changed[kind].update(counts)
            changed = changed_labels(fates)
            if changed:
                self.changes.append(Ranked(new.key, changed))

    def _add_score(self, record: Record, known: Annotations) -> None:
        """Count a sample with truth in its part and in the whole."""
        score = truth.count_sample(record.annotations, known)
        is_human = has_human_labels(record.annotations)
        part = HELD_OUT if self.held_out.has(record.key, is_human) else TRAINED
        for name in (ALL, part):
            self.scored[name] = self.scored.get(name, 0) + score

    def summary(self) -> Summary:
        """The counts as a part of a summary."""
        return {
            "samples": self.samples,
            "kept": self.kept,
            "dropped": self.dropped,
            "failed": self.failed,
            "changed": self.changed,
            "scored": self.scored,
            LEAST_SURE: Ranking.of(self.doubts),
            MOST_CHANGED: Ranking.of(self.changes),
        }


def metrics(counted: Summary, *, with_changes: bool) -> Json:
    """`metrics.json` of a round from its part of the summaries. Round 0 changes nothing.

    Scores are None when no sample has truth.
    """
    scores: Json = {}
    for part in (ALL, TRAINED, HELD_OUT):
        if part in counted["scored"]:
            scores[part] = truth.summary(counted["scored"][part])
    return {
        "samples": counted["samples"],
        "kept": counted["kept"],
        "dropped": _sorted(counted["dropped"]),
        "failed": _sorted(counted["failed"]),
        "changes": _sorted(counted["changed"]) if with_changes else None,
        "truth": scores or None,
        LEAST_SURE: [asdict(sample) for sample in counted[LEAST_SURE].first],
        MOST_CHANGED: [asdict(sample) for sample in counted[MOST_CHANGED].first],
    }


def metrics_by_source(totals: Mapping[str, Summary]) -> Json:
    """Of `metrics` for each source what has a meaning for it alone, by its name.

    Args:
        totals: the sums of the round's summaries by source.
    """
    found = {}
    for name, counted in totals.items():
        own = metrics(counted["metrics"], with_changes=False)
        found[name] = {key: own[key] for key in ("samples", "kept", "dropped", "failed", "truth")}
    return found


def _sorted(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The counts as plain values, the inner names in alphabetical order."""
    plain = {}
    for name, count in counts.items():
        plain[name] = dict(sorted(count.items()))
    return plain
