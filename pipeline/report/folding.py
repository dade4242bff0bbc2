"""Many lines about labels as a few: what was kept first, what was dropped as counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.schema import Annotation

FOLDED = 3
"""More dropped labels of one type and reason than this become one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLine:
    """A line about one label."""

    text: str
    noun: str
    """Its type in the singular."""
    label: Annotation


@dataclass(frozen=True, slots=True)
class Folding:
    """How the lines of a section are shown."""

    fates: Mapping[str, str] = field(default_factory=dict)
    """By the id of a label, why the newest round has dropped it; others are kept or unknown."""
    whole: bool = False
    """Show each line, in the order of the records."""

    def lines(self, lines: Sequence[LabelLine]) -> list[str]:
        """The kept labels, then the dropped ones; many for one reason are counted."""
        if self.whole:
            return [line.text for line in lines]
        shown = []
        groups: dict[tuple[str, str], list[LabelLine]] = {}
        for line in lines:
            reason = line.label.dropped or self.fates.get(line.label.id)
            if reason is None:
                shown.append(line.text)
            else:
                groups.setdefault((line.noun, reason), []).append(line)
        for (_, reason), group in groups.items():
            shown += _folded(group, reason)
        return shown


def _folded(group: Sequence[LabelLine], reason: str) -> list[str]:
    """The lines of a group, or one line in their place."""
    if len(group) <= FOLDED:
        return [line.text for line in group]
    line = f"and {len(group)} {group[0].noun}s  DROPPED {reason}"
    scores = [line.label.score for line in group if line.label.score is not None]
    if scores:
        line += f"  score {min(scores):.3f} to {max(scores):.3f}"
    return [f"{line}  (--all lists them)"]
