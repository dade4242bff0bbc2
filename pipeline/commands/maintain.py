"""`fld retry`, `fld verify`, `fld gc`, `fld dedup`: thin commands on a work folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def add(commands: Any) -> None:
    """Register the commands on `fld`'s subparsers."""
    command = _command(
        commands, "retry", retry, "do the failed samples again, and what depends on them"
    )
    command.add_argument(
        "--stage",
        metavar="STAGE",
        help="of one stage only; `ingest` are images that did not come in",
    )
    command.add_argument(
        "--reason", metavar="REASON", help="with one reason only, as `fld status` tells them"
    )
    command = _command(
        commands,
        "verify",
        verify,
        "files against their manifests; `fld run` mends what is withdrawn",
    )
    command.add_argument(
        "--deep", action="store_true", help="read every byte, row and index entry, not only sizes"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="only look: withdraw nothing; also while a run goes on",
    )
    command = _command(
        commands, "gc", gc, "remove what the present chain of rounds does not use; never images"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only tell what would go, and its size"
    )
    command = _command(
        commands, "dedup", dedup, "which images repeat another: equal, near or, with a model, alike"
    )
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="distance=6 mirrored=true model=FOLDER ...",
    )


def _command(commands: Any, name: str, function: Any, text: str) -> Any:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("work", metavar="WORK", help="the work folder of a run")
    command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    command.set_defaults(command=function)
    return command


def retry(args: argparse.Namespace) -> int:
    from pipeline.config import saved
    from pipeline.ingest.assignment import list_source
    from pipeline.maintenance.retry import withdraw
    from pipeline.refinement import loop
    from pipeline.report.data import publish_report
    from pipeline.report.terminal import reasons
    from pipeline.storage import lease

    store = saved.existing(args.work)
    run = saved.load(store)
    with lease.held(store):
        found = withdraw(store, run, args.stage, args.reason)
        loop.run_loop(store, run, list_source(run.source))  # also what a killed `fld retry` left
        summary = publish_report(store, run.experiment)
    if args.json:
        print(json.dumps({"retried": found}))
    else:
        print(summary)
        print(
            "\n".join(f"{stage}: {reasons(counts)}" for stage, counts in found.items())
            or "nothing failed that works now"
        )
    return 0


def verify(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pipeline.config import saved
    from pipeline.maintenance import verify as job
    from pipeline.storage import layout, lease

    store = saved.existing(args.work)
    with (
        lease.held(store) if not args.dry_run else _nothing(),
        _bar("verify", "manifest") as advance,
    ):
        report = job.verify(store, args.deep, advance)
        if not args.dry_run:
            job.withdraw(store, report.problems)
    withdrawn = not args.dry_run and any(problem.action != "keep" for problem in report.problems)
    if args.json:
        print(json.dumps({**asdict(report), "deep": args.deep, "withdrawn": withdrawn}))
    else:
        print(
            "\n".join(f"{problem.file}: {problem.problem}" for problem in report.problems)
            or "no problems"
        )
        print(
            f"{report.files:,} files, {_size(report.size)}, {'every byte' if args.deep else 'names and sizes'}"
        )
        if withdrawn:
            print(f"withdrawn; `fld run --config {store.path(layout.CONFIG)}` makes them anew")
    return int(bool(report.problems))


def gc(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pipeline.config import saved
    from pipeline.maintenance import gc as job
    from pipeline.storage import lease

    store = saved.existing(args.work)
    with lease.held(store):
        garbage = job.unused(store)
        if not args.dry_run:
            job.remove(store, garbage)
    total = sum(each.size for each in garbage)
    if args.json:
        print(
            json.dumps(
                {
                    "unused": [asdict(each) for each in garbage],
                    "size": total,
                    "removed": not args.dry_run,
                }
            )
        )
        return 0
    for each in garbage:
        print(f"{_size(each.size):>10}  {each.folder}")
    print(f"{_size(total):>10}  {'to remove' if args.dry_run else 'removed'}")
    return 0


def dedup(args: argparse.Namespace) -> int:
    from pipeline.config import saved
    from pipeline.config.compose import dotlist
    from pipeline.config.validation import build
    from pipeline.maintenance.dedup import dedup as job
    from pipeline.report.terminal import reasons
    from pipeline.storage import lease
    from stages.dedup import DedupConfig

    options = build(DedupConfig, dotlist(args.overrides), "")
    store = saved.existing(args.work)
    with lease.held(store):
        summary = job(store, saved.load(store), options)
    if args.json:
        print(json.dumps(summary))
    else:
        print(
            f"{summary['images']:,} images, {summary['kept']:,} kept; repeated: {reasons(summary['dropped']) or '0'}"
        )
        print(summary["file"])
    return 0


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    from tqdm import tqdm

    with tqdm(desc=title, unit=unit, dynamic_ncols=True) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
