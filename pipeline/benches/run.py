"""One bench by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_type_hints

from pipeline.benches.machine import machine
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
