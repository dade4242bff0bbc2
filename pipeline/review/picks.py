"""Which samples people should review: the least certain ones, and a random part.

How little is known of a sample is its *doubt* (`pipeline.quality.doubt`). A sample without a box of
a machine has no doubt, and comes in by chance only.

The random part is drawn by the hash of the seed and the key, so it does not depend on the order of
the records. It comes from the samples that are held out of every training, the doubtful part from
the others. So people judge rounds (`refine.gate.truth=human`) on samples that no model has learned
from and that chance has picked, and a model learns from the doubtful ones. Samples whose boxes have
been reviewed are left out.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from pipeline.quality.doubt import doubt_of
from pipeline.quality.reviewed import Review
from pipeline.rows import Record

Why = Literal["random", "doubtful"]
RANDOM: Why = "random"
DOUBTFUL: Why = "doubtful"
Drawn = tuple[int, str, float]
"""The negated number of a sample, its key, and its doubt, -1 if it has none."""
Doubtful = tuple[float, int, str]
"""The doubt of a sample, its negated number, and its key."""
Entry = TypeVar("Entry", Drawn, Doubtful)
REGIONS = "regions"
"""The group of labels that every review is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A sample to review."""

    key: str
    why: Why
    doubt: float | None
    """0 to 1; None if nothing is known of its labels."""


def pick(
    records: Iterable[Record],
    n: int,
    share: float,
    seed: int = 0,
    held_out: Callable[[str], bool] | None = None,
) -> list[Pick]:
    """Choose `n` samples, a `share` of them by chance; memory is that of twice `n` picks.

    Args:
        records: the samples of a round.
        n: how many to choose.
        share: 0 to 1; the part that chance picks.
        seed: of the random part.
        held_out: whether the sample of a key is held out of training. Without it both parts are
            taken from all samples.

    Returns:
        The picks: random ones by key, then the doubtful ones, the most doubtful first. There are
        fewer than `n` if the round has no more samples with a doubt.

    Raises:
        ValueError: `n` is below 1, or `share` is not between 0 and 1.
    """
    if n < 1:
        raise ValueError(f"--n {n}: give at least 1")
    if not 0 <= share <= 1:
        raise ValueError(f"--random {share:g}: give a share from 0 to 1")
    by_chance = round(n * share)
    drawn: list[Drawn] = []
    doubtful: list[Doubtful] = []
    for record in records:
        if is_reviewed(record):
            continue
        number = _draw_number(seed, record.key)
        doubt = doubt_of(record.annotations)
        known = -1.0 if doubt is None else doubt
        may_be_drawn = held_out is None or held_out(record.key)
        may_be_doubtful = held_out is None or not may_be_drawn
        if may_be_drawn:
            _keep(drawn, (-number, record.key, known), by_chance)
        if doubt is not None and may_be_doubtful:
            _keep(doubtful, (doubt, -number, record.key), n)
    return _picks(drawn, doubtful, n)


def _picks(drawn: Iterable[Drawn], doubtful: Iterable[Doubtful], n: int) -> list[Pick]:
    """The random picks, and as many doubtful ones as fill up to `n`."""
    picks = []
    for _, key, known in drawn:
        doubt = None if known < 0 else known
        picks.append(Pick(key=key, why=RANDOM, doubt=doubt))
    picks.sort(key=lambda each: each.key)
    taken = {each.key for each in picks}
    for most, _, key in sorted(doubtful, reverse=True):
        if len(picks) == n:
            break
        if key not in taken:
            picks.append(Pick(key=key, why=DOUBTFUL, doubt=most))
    return picks


def is_reviewed(record: Record) -> bool:
    """Whether people have reviewed the boxes of a sample."""
    review = Review.of(record.annotations)
    return review is not None and REGIONS in review.complete


def _keep(heap: list[Entry], entry: Entry, most: int) -> None:
    """Put an entry into a heap of the `most` highest ones."""
    if len(heap) < most:
        heapq.heappush(heap, entry)
    elif most and entry > heap[0]:
        heapq.heapreplace(heap, entry)


def _draw_number(seed: int, key: str) -> int:
    """A number of 64 bits that looks random but depends on the seed and the key alone."""
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
