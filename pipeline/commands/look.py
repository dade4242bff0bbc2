"""`fld status`, `fld explain` and `fld report`: look at a work folder."""

from __future__ import annotations

import argparse
import sys

from pipeline.commands.group import CommandGroup, Output, add_json, add_work

FAILURES = 10  # failed samples that `fld status` lists unless `--limit` says otherwise
JSON_FAILURES = 1000  # the same with `--json`


def add_commands(group: CommandGroup) -> None:
    """Register the commands."""
    command = group.add(
        "status",
        "progress, rate, failures; live in a terminal during a run",
        description="Progress, rate and failures of a run. In a terminal the display is live while"
        " the run goes on. Only files are read, so it works from any machine.",
    )
    add_work(command)
    add_json(command)
    command.add_argument(
        "--limit",
        type=int,
        help=f"failed samples to list: {FAILURES}, with --json {JSON_FAILURES}",
    )
    command.add_argument(
        "--watch", action="store_true", help="in a terminal: follow also before and after a run"
    )
    command.add_argument(
        "--times", action="store_true", help="only how long each stage of the last run took"
    )
    command.set_defaults(command=status, prints=True)

    command = group.add("explain", "everything that happened to one sample")
    add_work(command)
    add_json(command)
    command.add_argument("key", metavar="KEY", help="the sample's key, or its name in the source")
    command.add_argument(
        "--all",
        action="store_true",
        help="a line for every label; otherwise many that were dropped for one reason are counted",
    )
    command.set_defaults(command=explain)

    command = group.add("report", "write WORK/report.html: pictures, numbers, curves")
    add_work(command)
    command.add_argument(
        "--samples",
        type=int,
        help="samples to show at most (200): half of them the least sure, the most changed and the"
        " failed ones, the others by chance",
    )
    command.set_defaults(command=report)


def status(args: argparse.Namespace) -> Output:
    """How far a run is."""
    import logging

    from pipeline.config import saved
    from pipeline.quality.pending_reviews import pending_line
    from pipeline.report import status
    from pipeline.report.terminal import live, status_text
    from pipeline.report.times import times_table

    store = saved.existing(args.work)
    limit = args.limit
    if limit is None:
        limit = JSON_FAILURES if args.json else FAILURES
    state = status.status(store, limit)
    if waiting := pending_line(store):
        logging.getLogger("fld").warning(waiting)
    if args.json:
        return Output(value=state)
    if args.times:
        return Output(text=times_table(state["groups"]))
    running = state["state"] == "running"
    if sys.stdout.isatty() and (args.watch or running):
        live(lambda: status.status(store, limit), args.watch)
        return Output()
    return Output(text=status_text(state))


def explain(args: argparse.Namespace) -> Output:
    """Everything that happened to one sample."""
    from pipeline.config import saved
    from pipeline.report import history
    from pipeline.report.explain import explain

    sample = history.sample_history(saved.existing(args.work), args.key)
    return Output(text=explain(sample, args.all), value=history.as_json(sample))


def report(args: argparse.Namespace) -> Output:
    """Write the report anew."""
    from pipeline.config import saved
    from pipeline.report.data import SAMPLES, publish_report

    samples = SAMPLES if args.samples is None else args.samples
    if samples < 0:
        raise ValueError(f"--samples {samples}: give 0 or more")
    store = saved.existing(args.work)
    experiment = saved.values(store)["experiment"]
    return Output(text=publish_report(store, experiment, samples))
