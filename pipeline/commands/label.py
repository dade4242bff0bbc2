"""`fld run` and `fld plan`: make labels, and see beforehand what that would take."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipeline.commands.group import CommandGroup, Output, add_json, add_keep_going, add_overrides
from pipeline.storage.json_types import Json

if TYPE_CHECKING:
    from pipeline.config.run import RunConfig
    from pipeline.storage.store import Store


def add_commands(group: CommandGroup) -> None:
    """Register the commands."""
    command = group.add("run", "label, train, re-label; the same command resumes")
    _add_configuration(command)
    add_keep_going(command)
    command.set_defaults(command=run)

    command = group.add("plan", "what `fld run` would do and reuse; runs nothing")
    _add_configuration(command)
    add_json(command)
    command.set_defaults(command=plan)


def run(args: argparse.Namespace) -> Output:
    """The whole loop, from the source to the report."""
    from pipeline.config import saved
    from pipeline.ingest import source_files
    from pipeline.ingest.assignment import assign
    from pipeline.refinement.executor import run_loop
    from pipeline.report.data import publish_report
    from pipeline.report.endings import failures_text
    from pipeline.storage import lease

    values, config = _configuration(args)
    listing = source_files.read_listing(config.source)
    names = listing.names
    store = _usable_store(config.work)
    with lease.held(store):
        # Another source in the same work folder is refused here, before anything is written.
        assign(store, config.source, names, publish=False)
        saved.save(store, values)
        source_files.announce_changes(store, config.source, listing)
        source_files.record_files(store, listing)
        run_loop(store, config, names, args.keep_going)
        summary = publish_report(store, config.experiment)
        failed = failures_text(store)
    return Output(text=f"{summary}{failed}")


def plan(args: argparse.Namespace) -> Output:
    """What `fld run` with the same arguments would do."""
    from dataclasses import asdict

    from pipeline.ingest import source_files
    from pipeline.refinement.planning import plan_run
    from pipeline.report.command_text import plan_table

    _, config = _configuration(args)
    listing = source_files.read_listing(config.source)
    store = _usable_store(config.work)
    stages = plan_run(store, config, listing.names)
    source_files.announce_changes(store, config.source, listing)
    return Output(text=plan_table(stages), value=[asdict(stage) for stage in stages])


def _add_configuration(command: argparse.ArgumentParser) -> None:
    add_overrides(command, "experiment=photos work=DIR a.b=c ...")
    command.add_argument(
        "--config", help="a saved resolved config (WORK/config.yaml) to start from"
    )


def _configuration(args: argparse.Namespace) -> tuple[Json, RunConfig]:
    """The plain values of a run, with absolute paths, and the validated config."""
    from pipeline.config import compose, effects, parse
    from pipeline.config.models import check_models

    if args.config:
        values = compose.load(args.config, args.overrides)
    else:
        values = compose.compose(args.overrides)
    values = parse.with_absolute_paths(values, parse.parse(values))
    config = parse.parse(values)
    check_models(config)
    effects.announce(effects.warnings(config, effects.typed_names(args.overrides)))
    return values, config


def _usable_store(url: str) -> Store:
    from pipeline.storage.store import Store

    store = Store(url)
    store.check_usable()
    return store
