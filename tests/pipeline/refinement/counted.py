"""Counts of labels, as the tests of estimates use them."""

import numpy as np

from pipeline.quality.levels import BINS, count_levels
from pipeline.quality.summary import Summary


def levels(*groups: tuple[float, int, int]) -> Summary:
    """Groups of (certainty, labels, how many of them are repeated)."""
    all_ = np.zeros(BINS, np.int64)
    repeated = np.zeros(BINS, np.int64)
    for certainty, labels, again in groups:
        all_ += count_levels([certainty] * labels)
        repeated += count_levels([certainty] * again)
    return {"all": all_, "repeated": repeated}
