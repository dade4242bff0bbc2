"""One bench by its name, and the machine that it ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from pipeline.config.compose import dotlist
from pipeline.config.validation import build
from pipeline.execution.threads import bound_threads
from stages import registry


def run_bench(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The result of the bench `name` with these settings (`key=value`), as plain values."""
    function = registry.resolve(registry.BENCHES[name])
    config = build(get_type_hints(function)["config"], dotlist(overrides), "")
    bound_threads(getattr(config, "threads", 1))
    return {**function(config), "machine": machine()}


def machine() -> dict[str, Any]:
    """Processor, cores and Python version of this machine; figures mean little without them."""
    return {
        "cpu": _cpu_model() or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    """The model name that Linux tells, empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return ""
