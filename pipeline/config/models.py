"""Check the models of a run before anything runs; no model is loaded but ONNX files.

Each stage class may have a method `check(config)` that looks at the files which its config names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from pipeline.config.run import Entry, RunConfig
from pipeline.storage.lists import read_entries
from stages import registry
from stages.base import StageError
from stages.florence.config import TrainConfig
from stages.florence.limits import check_training, limits_of


def check_models(run: RunConfig) -> None:
    """Check the models of all stages, that the model of the rounds takes its settings, and lists.

    Raises:
        ValueError: a model or a list cannot be used; one line with what is expected and what is
            there.
    """
    for name, source in run.all_sources.items():
        read_entries(f"sources.{name}.refuse" if name else "source.refuse", source.refuse)
    for entry in run.specialists.values():
        _check_entry(f"specialists.{entry.name}", entry)
    for entry in run.filters.values():
        _check_entry(f"filters.{entry.name}", entry)
    if run.refine.rounds:
        _check_rounds(run)


def check_start(
    setting: str,
    start: str,
    stages: Iterable[tuple[int, int]],
    train: TrainConfig,
    where: str = "",
) -> None:
    """Check that a training can start from the checkpoint that `setting` names.

    Raises:
        ValueError: it is no whole Florence-2, or does not take the settings of the training.
    """
    try:
        limits = limits_of(start)
    except (StageError, ValueError) as error:
        raise ValueError(f"{setting}={start}: {_one_line(error)}") from error
    if limits is not None:
        check_training(limits, stages, train, where)


def _check_rounds(run: RunConfig) -> None:
    """Check the checkpoints from which the rounds start, and what reads the trained ones."""
    refine = run.refine
    check_start("refine.start", refine.start, run.train.stages, run.train)
    options: Any = refine.annotate.options
    with_model = replace(options, model=refine.start)
    _check_entry("refine.annotate", replace(refine.annotate, options=with_model))
    sparse = refine.sparse
    if sparse.texts:
        start = sparse.start or refine.start
        check_start("refine.sparse.start", start, sparse.stages, run.train, "refine.sparse.")


def _check_entry(where: str, entry: Entry) -> None:
    """Check the files that a stage names.

    Raises:
        ValueError: they cannot be used. The message begins with the name of the setting.
    """
    stage, _ = registry.load(entry.use)
    check = getattr(stage, "check", None)
    if check is None:
        return
    try:
        check(entry.options)
    except (StageError, ValueError) as error:
        message = _one_line(error)
        names = [field.name for field in fields(entry.options)]
        is_setting = re.split("[=:]", message)[0] in names
        joint = "." if is_setting else ": "
        raise ValueError(f"{where}{joint}{message}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
