"""Log-probabilities as counts that add up over shards, and quantiles of them.

Log-probabilities are in nats per token, at most 0. They are counted to a hundredth of a nat.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

BINS = 4096
"""Bin i counts the log-probability -i / 100. The last bin also counts all that are lower."""
PER_NAT = 100


def count_levels(values: Iterable[float]) -> np.ndarray:
    """How often each log-probability occurs: (BINS,) int64."""
    bins = np.rint(np.array(list(values), np.float64) * -PER_NAT).astype(np.int64)
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)


def quantile(counts: np.ndarray, share: float) -> float:
    """The value below which a share of the log-probabilities lies, as `numpy.quantile` has it.

    Args:
        counts: (BINS,) int, what `count_levels` returns, or a sum of such arrays; not all 0.
        share: in [0, 1].
    """
    # The lowest values first.
    up_to = np.cumsum(counts[::-1])
    position = share * (up_to[-1] - 1)
    low = int(position)
    high = min(low + 1, int(up_to[-1]) - 1)
    bins = BINS - 1 - np.searchsorted(up_to, [low, high], side="right")
    first, second = -bins / PER_NAT
    return float(first + (second - first) * (position - low))
