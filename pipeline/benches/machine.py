"""The machine that a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TypedDict


class Machine(TypedDict):
    """What a figure depends on."""

    cpu: str
    """Name of the processor."""
    cores: int | None
    python: str
    """Version of Python."""


def machine() -> Machine:
    """Return the processor, its cores and the Python version; figures mean little without them."""
    return {
        "cpu": _cpu_model() or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    """Return the processor's name on Linux; elsewhere an empty string."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return ""
