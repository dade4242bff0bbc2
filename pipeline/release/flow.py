"""What became of the samples of a shard and of their annotations, for its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.release.tables import SAMPLE, TYPES, RemovedRow
from pipeline.rows import Record
from pipeline.schema import KINDS
from pipeline.storage.manifest import AnnotationFlow, SampleFlow

WITH_SAMPLE = "sample_removed"
"""Why the annotations of a sample that is not released are not released."""


@dataclass(frozen=True, slots=True)
class ShardFlow:
    """One shard of a release."""

    records: Sequence[Record]
    """Those of the round."""
    released: Sequence[Record]
    removed: Sequence[RemovedRow]

    def samples(self) -> SampleFlow:
        """The samples of the round, and what became of them."""
        return {
            "in": len(self.records),
            "kept": len(self.released),
            "dropped": dict(self._reasons(SAMPLE)),
            "failed": {},
        }

    def annotations(self) -> dict[str, AnnotationFlow]:
        """The annotations of the round by kind, and what became of them."""
        gone = {row.key for row in self.removed if row.type == SAMPLE}
        with_sample = [record for record in self.records if record.key in gone]
        flows: dict[str, AnnotationFlow] = {}
        for kind in KINDS:
            dropped = self._reasons(TYPES[kind])
            if with_sample:
                dropped[WITH_SAMPLE] = _count(with_sample, kind)
            flows[kind] = {
                "in": _count(self.records, kind),
                "kept": _count(self.released, kind),
                "dropped": dict(dropped),
            }
        return flows

    def _reasons(self, type_: str) -> Counter[str]:
        """Why samples, or annotations of one type, are left out."""
        reasons: Counter[str] = Counter()
        for row in self.removed:
            if row.type == type_:
                reasons[row.reason] += 1
        return reasons


def _count(records: Sequence[Record], kind: str) -> int:
    """How many annotations of one kind some records have."""
    total = 0
    for record in records:
        total += len(getattr(record.annotations, kind))
    return total
