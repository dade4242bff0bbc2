"""One bench by its name, with the machine that it ran on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_type_hints

from pipeline.benches.machine import machine
from pipeline.config.compose import dotlist
from pipeline.config.effects import announce, own
from pipeline.config.validation import build
from pipeline.execution.threads import bound_threads
from pipeline.storage.json_types import Json
from stages import registry


def run_bench(name: str, overrides: Sequence[str]) -> Json:
    """The result of the bench `name` with these settings (`key=value`), as plain values."""
    function = registry.resolve(registry.BENCHES[name])
    config_class = get_type_hints(function)["config"]
    config = build(config_class, dotlist(overrides, config_class), "")
    announce(own(config))
    bound_threads(getattr(config, "threads", 1))
    return {**function(config), "machine": machine()}
