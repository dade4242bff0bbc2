"""The settings of a run from a command line, and those of every run of a sweep."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.commands.group import add_overrides
from pipeline.storage.json_types import Json

if TYPE_CHECKING:
    from pipeline.config.run import RunConfig


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of a run."""

    values: Json
    """As plain values, with absolute paths."""
    config: RunConfig
    """The same, validated."""


def add_configuration(command: argparse.ArgumentParser) -> None:
    """Add the arguments that `configuration` reads."""
    add_overrides(command, "experiment=photos work=DIR a.b=c ...")
    command.add_argument(
        "--config", help="a saved resolved config (WORK/config.yaml) to start from"
    )


def add_multirun(command: argparse.ArgumentParser, meaning: str) -> None:
    """Add the option of a sweep."""
    command.add_argument("-m", "--multirun", action="store_true", help=meaning)


def configuration(args: argparse.Namespace, is_sent: bool = False) -> Configuration:
    """The settings of the run that a command line describes.

    `is_sent`: the run is sent to other machines, which may have files that this one has not.

    Raises:
        ValueError: a setting is wrong.
    """
    return _configuration(args.config, args.overrides, is_sent)


def swept_configurations(args: argparse.Namespace, is_sent: bool = False) -> list[Configuration]:
    """The settings of all runs of a sweep, each with a work folder of its own.

    All of them are checked before the first one runs. `is_sent` is as for `configuration`.

    Raises:
        ValueError: a setting of some run is wrong, or there is nothing to sweep.
    """
    from pipeline.config.sweep import expand, is_swept

    has_works = is_swept(args.overrides, "work")
    found = []
    for run in expand(args.overrides):
        one = _configuration(args.config, run.overrides, is_sent)
        found.append(one if has_works else _below(one, run.name))
    return found


def _below(one: Configuration, name: str) -> Configuration:
    """The same run in a folder below its work folder."""
    work = f"{one.config.work.rstrip('/')}/{name}"
    return Configuration({**one.values, "work": work}, dataclasses.replace(one.config, work=work))


def _configuration(file: str | None, overrides: Sequence[str], is_sent: bool) -> Configuration:
    from pipeline.config import compose, contents, effects, parse
    from pipeline.config.models import check_models
    from stages.hub import use_cache

    values = compose.load(file, overrides) if file else compose.compose(overrides)
    values = parse.with_absolute_paths(values, parse.parse(values, is_sent))
    config = parse.parse(values, is_sent)
    use_cache(config.cluster.models)
    check_models(config, is_sent)
    if is_sent:
        effects.announce(contents.unchecked(config))
    effects.announce(effects.warnings(config, effects.typed_names(overrides)))
    return Configuration(values, config)
