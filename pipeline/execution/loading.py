"""Loading a stage with its model. If that fails, no sample is at fault, so the run ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from pipeline.config.validation import Settings
from pipeline.errors import is_disk_full
from pipeline.execution.faults import first_line
from pipeline.plan.graph import WORK, Node
from pipeline.storage.store import Store
from stages import registry
from stages.base import Stage, StageError, role_of


def reads_images(node: Node) -> bool:
    """Whether a node is a stage that looks at images."""
    if node.kind != "signals":
        return False
    stage: type[Stage] = registry.load(node.entry.use)[0]
    return stage.reads_images


def load_stage(url: str, use: str, options: Settings) -> Stage:
    """A stage with its model loaded. A model in a remote work folder is fetched first.

    Raises:
        StageError: it cannot be loaded. Whatever the reason is, no sample is at fault.
        OSError: a disk is full, or the work folder cannot be read.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, str) and value.startswith(WORK):
            folder = value.removeprefix(WORK)
            local = Store(url).local_copy(folder)
            options = dataclasses.replace(options, **{field.name: local})
    try:
        cls, _ = registry.load(use)
        stage: Stage = cls(options)
    except StageError:
        raise
    except ValueError as error:
        # The message of a stage's own ValueError says already what to change.
        raise StageError(str(error)) from error
    except Exception as error:
        # A library may raise anything while it loads a model.
        if is_disk_full(error):
            raise
        settings = ", ".join(_content_settings(options)) or f"use={use}"
        raise StageError(f"it does not load with {settings}: {first_line(error)}") from error
    return stage


def _content_settings(options: Settings) -> Iterator[str]:
    """The settings of a stage that name a model or a data file, as "name=value"."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if role_of(field).content and value:
            yield f"{field.name}={value}"
