"""Bounding the threads of a process: actors share the machine's cores."""

from __future__ import annotations

import os


def bound_threads(threads: int) -> None:
    """Every library of this process uses at most so many threads."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    for name in (
        "MKL_DYNAMIC",
        "OMP_DYNAMIC",
    ):  # else the load decides how many threads sum, and so the last digits
        os.environ[name] = "FALSE"
    import cv2

    cv2.setNumThreads(threads)
