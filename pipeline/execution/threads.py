"""Bounding the threads of a process: the actors of a machine share its cores."""

from __future__ import annotations

import os

THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
# If a library chose its threads by load, sums would be taken in another order from run to run, and
# the last digits of results would differ.
DYNAMIC_THREADS = ("MKL_DYNAMIC", "OMP_DYNAMIC")


def bound_threads(threads: int) -> None:
    """Let every library of this process use at most so many threads."""
    for name in THREAD_COUNTS:
        os.environ[name] = str(threads)
    for name in DYNAMIC_THREADS:
        os.environ[name] = "FALSE"
    import cv2

    cv2.setNumThreads(threads)
