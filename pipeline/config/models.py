"""Check the models of a run before anything runs; no model is loaded but ONNX files.

Each stage class may have a method `check(config)` that looks at the files which its config names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from pipeline.config.contents import are_elsewhere, is_elsewhere
from pipeline.config.run import Entry, RunConfig
from pipeline.storage.lists import read_entries
from stages import registry
from stages.base import StageError
from stages.florence.config import TrainConfig
from stages.florence.limits import check_training, limits_of


def check_models(run: RunConfig, is_sent: bool = False) -> None:
    """Check the models of all stages, that the model of the rounds takes its settings, and lists.

    Args:
        run: the settings.
        is_sent: whether the run is sent to other machines. Then files that are not on this machine
            are left to these (`contents.unchecked` names them).

    Raises:
        ValueError: a model or a list cannot be used; one line with what is expected and what is
            there.
    """
    for name, source in run.all_sources.items():
        lists = [file for file in source.refuse if not (is_sent and is_elsewhere(file))]
        read_entries(f"sources.{name}.refuse" if name else "source.refuse", lists)
    for where, entries in (("specialists", run.specialists), ("filters", run.filters)):
        for entry in entries.values():
            if not (is_sent and are_elsewhere(entry.options)):
                _check_entry(f"{where}.{entry.name}", entry)
    if run.refine.rounds:
        _check_rounds(run, is_sent)


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


def _check_rounds(run: RunConfig, is_sent: bool) -> None:
    """Check the checkpoints from which the rounds start, and what reads the trained ones."""
    refine = run.refine
    if not (is_sent and is_elsewhere(refine.start)):
        check_start("refine.start", refine.start, run.train.stages, run.train)
        options: Any = refine.annotate.options
        with_model = replace(options, model=refine.start)
        _check_entry("refine.annotate", replace(refine.annotate, options=with_model))
    sparse = refine.sparse
    start = sparse.start or refine.start
    if sparse.texts and not (is_sent and is_elsewhere(start)):
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
