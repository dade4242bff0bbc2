"""The first samples of a ranking, as a leaf of a summary: bounded, and the same for any shards.

The highest values come first, equal values in the order of their keys. This order is total, so the
first `MOST` of a set are among the first `MOST` of its parts, however it is divided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST = 50
"""How many samples a ranking keeps."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A sample in a ranking."""

    key: str
    value: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The samples with the highest values. `+` joins the rankings of two sets of samples."""

    first: tuple[Ranked, ...] = ()
    """At most `MOST`, the highest value first."""

    @classmethod
    def of(cls, samples: Iterable[Ranked]) -> Ranking:
        """The ranking of some samples."""
        return cls(tuple(sorted(samples, key=_place)[:MOST]))

    def __add__(self, other: Ranking) -> Ranking:
        if len(self.first) == MOST and other._is_behind(self.first[-1]):
            # Of many shards, most have nothing for the first places.
            return self
        return Ranking.of([*self.first, *other.first])

    def _is_behind(self, last: Ranked) -> bool:
        """Whether no sample comes before `last`."""
        return not self.first or _place(self.first[0]) >= _place(last)


def _place(sample: Ranked) -> tuple[float, str]:
    return -sample.value, sample.key
