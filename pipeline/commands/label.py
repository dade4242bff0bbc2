"""`fld run` and `fld plan`: make labels, and see beforehand what that would take."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from pipeline.commands.configuration import (
    Configuration,
    add_configuration,
    add_multirun,
    configuration,
    swept_configurations,
)
from pipeline.commands.group import CommandGroup, Output, add_json, add_keep_going

if TYPE_CHECKING:
    from pipeline.storage.store import Store


def add_commands(group: CommandGroup) -> None:
    """Register the commands."""
    command = group.add("run", "label, train, re-label; the same command resumes")
    add_configuration(command)
    add_keep_going(command)
    add_multirun(command, "one run after another for every combination of values a=1,2 b=x,y")
    command.set_defaults(command=run)

    command = group.add("plan", "what `fld run` would do and reuse; runs nothing")
    add_configuration(command)
    add_json(command)
    command.set_defaults(command=plan)


def run(args: argparse.Namespace) -> Output:
    """The whole loop, from the source to the report."""
    _announce_unsent(args)
    if args.multirun:
        return _run_all(swept_configurations(args), args.keep_going)
    return Output(text=_run(configuration(args), args.keep_going))


def _run_all(configurations: list[Configuration], keep_going: bool) -> Output:
    """One run after another; a line for each at the end. A run that fails stops no other."""
    from pipeline.errors import RunFailed

    lines = []
    failed = False
    for number, one in enumerate(configurations, start=1):
        work = one.config.work
        print(f"fld: run {number} of {len(configurations)}: {work}", file=sys.stderr)
        try:
            print(_run(one, keep_going), file=sys.stderr)
            lines.append(f"{work}: done")
        except (ValueError, RunFailed, OSError) as error:
            message = " ".join(str(error).split())
            logging.getLogger("fld").warning("%s: %s", work, message)
            lines.append(f"{work}: failed: {message}")
            failed = True
    return Output(text="\n".join(lines), exit_code=int(failed))


def _run(one: Configuration, keep_going: bool) -> str:
    """Run the loop and return the summary."""
    from pipeline.config import saved
    from pipeline.ingest import source_files
    from pipeline.ingest.assignment import assign_all
    from pipeline.refinement.executor import run_loop
    from pipeline.report.data import publish_report
    from pipeline.report.endings import failures_text
    from pipeline.storage import lease

    values, config = one.values, one.config
    listings = source_files.read_listings(config)
    names = source_files.names_of(listings)
    store = _usable_store(config.work)
    with lease.held(store):
        # Other sources in the same work folder are refused here, before anything is written.
        assign_all(store, config.all_sources, names, publish=False)
        saved.save(store, values)
        source_files.announce_changes(store, config.all_sources, listings)
        source_files.record_files(store, listings)
        run_loop(store, config, names, keep_going)
        summary = publish_report(store, config.experiment)
        failed = failures_text(store)
    return f"{summary}{failed}"


def plan(args: argparse.Namespace) -> Output:
    """What `fld run` with the same arguments would do."""
    from dataclasses import asdict

    from pipeline.config import effects
    from pipeline.ingest import source_files
    from pipeline.refinement.copies import cost_of_copies
    from pipeline.refinement.planning import plan_run
    from pipeline.report.command_text import plan_table

    _announce_unsent(args)
    config = configuration(args).config
    listings = source_files.read_listings(config)
    names = source_files.names_of(listings)
    store = _usable_store(config.work)
    stages = plan_run(store, config, names)
    source_files.announce_changes(store, config.all_sources, listings)
    if any(stage.todo for stage in stages):
        effects.announce(cost_of_copies(store, config, names))
    return Output(text=plan_table(stages), value=[asdict(stage) for stage in stages])


def _announce_unsent(args: argparse.Namespace) -> None:
    """Warn of settings that only `fld submit` reads."""
    from pipeline.config import effects

    effects.announce(effects.unsent(effects.typed_names(args.overrides)))


def _usable_store(url: str) -> Store:
    from pipeline.storage.store import Store

    store = Store(url)
    store.check_usable()
    return store
