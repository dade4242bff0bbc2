"""The model and data files that settings name: are they there?

A run that is sent to other machines may name files that are there and not here. Only absolute paths
can be such ones, since a relative path starts from the current folder of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.config.run import RunConfig
from stages.base import role_of
from stages.florence.model import resolve
from stages.hub import hub_model

# A name like `a/b` is a hub name, but `a/b.onnx` is a file.
FILE_SUFFIXES = (".onnx", ".txt", ".safetensors", ".json")


def check_contents(run: RunConfig, is_sent: bool) -> None:
    """Check that every model or data file that a setting names exists.

    `is_sent`: an absolute path may be one of the machines that the run is sent to.

    Raises:
        ValueError: one does not exist. A hub name is looked up only when the model is loaded.
    """
    for key, value in _named(run):
        if not (is_sent and is_elsewhere(value)):
            check_exists(key, value)


def check_exists(key: str, value: str) -> None:
    """Check that setting `key` names a model or data file that exists; an empty value is allowed.

    Raises:
        ValueError: there is no such file or folder, and `value` is no hub name.
    """
    if value and not _is_there(value):
        raise ValueError(
            f"{key}={value}: no such file or folder; give one, or a hub name (owner/model)"
        )


def _is_there(value: str) -> bool:
    """Whether a file or folder exists; a hub name is taken for one."""
    return _is_hub_name(value) or Path(resolve(value)).exists()


def _is_hub_name(value: str) -> bool:
    return hub_model(value) is not None and Path(value).suffix not in FILE_SUFFIXES


def is_elsewhere(value: str) -> bool:
    """Whether a setting is an absolute path that this machine does not have."""
    return os.path.isabs(value) and not os.path.exists(value)


def lacks_files(options: Any) -> bool:
    """Whether a file that the settings of a stage name is not there, or not on this machine."""
    return any(value and not _is_there(value) for _, value in _contents(options))


def are_elsewhere(options: Any) -> bool:
    """Whether this machine does not have a file that the settings of a stage name."""
    return any(is_elsewhere(value) for _, value in _contents(options))


def unchecked(run: RunConfig) -> Iterator[str]:
    """A warning for each file of a sent run that this machine does not have."""
    files = [*_named(run)]
    for name, source in run.all_sources.items():
        key = f"sources.{name}.refuse" if name else "source.refuse"
        files += [(key, file) for file in source.refuse]
    for key, value in files:
        if is_elsewhere(value):
            yield (
                f"{key}={value}: not on this machine, so it is not checked here; "
                "the machines of the job need it under this name"
            )


def _named(run: RunConfig) -> Iterator[tuple[str, str]]:
    """(setting, value) of all model and data files."""
    yield "refine.start", run.refine.start
    yield "refine.sparse.start", run.refine.sparse.start
    for where, entries in (("specialists", run.specialists), ("filters", run.filters)):
        for name, entry in entries.items():
            for field, value in _contents(entry.options):
                yield f"{where}.{name}.{field}", value


def _contents(options: Any) -> Sequence[tuple[str, str]]:
    """(field, value) of the files that the settings of a stage name."""
    names = [field.name for field in fields(options) if role_of(field).content]
    return [(name, getattr(options, name)) for name in names]
