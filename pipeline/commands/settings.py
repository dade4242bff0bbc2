"""`fld settings`: every setting with its type, default and meaning."""

from __future__ import annotations

import argparse

from pipeline.commands.group import CommandGroup, Output, add_json


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    command = group.add("settings", "every setting with its meaning, unit and default")
    command.add_argument(
        "part",
        nargs="?",
        metavar="GROUP|STAGE",
        help="only this part: run, source, specialists, filters, refine, train, cluster, training,"
        " study, dedup, release, calibrate, bench; a stage or source such as detr or coco; or a"
        " name such as refine.gate",
    )
    add_json(command)
    command.set_defaults(command=settings)


def settings(args: argparse.Namespace) -> Output:
    """The table of settings, or a part of it."""
    from dataclasses import asdict

    from pipeline.config import reference
    from pipeline.report.command_text import settings_text

    selected = reference.settings(command_configs())
    if args.part is not None:
        selected = reference.select(selected, args.part)
    value = {"settings": [asdict(setting) for setting in selected]}
    return Output(text=settings_text(selected), value=value)


def command_configs() -> dict[str, type]:
    """The config classes of commands beside `fld run`, by the group of their settings."""
    from pipeline.quality.calibration import CalibrateConfig
    from pipeline.release.config import ReleaseConfig
    from pipeline.studies.config import StudyConfig
    from pipeline.training.standalone import TrainCommandConfig
    from stages.dedup import DedupConfig

    return {
        "training": TrainCommandConfig,
        "study": StudyConfig,
        "dedup": DedupConfig,
        "release": ReleaseConfig,
        "calibrate": CalibrateConfig,
    }
