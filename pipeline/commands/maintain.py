"""`fld retry`, `fld verify`, `fld gc` and `fld dedup`: maintain a work folder."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pipeline.commands.group import (
    CommandGroup,
    Output,
    add_json,
    add_keep_going,
    add_overrides,
    add_work,
    progress_bar,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.maintenance.gc import Unused
    from pipeline.maintenance.verify import VerifyReport


def add_commands(group: CommandGroup) -> None:
    """Register the commands."""
    command = group.add("retry", "do the failed samples again, and what depends on them")
    add_work(command)
    add_json(command)
    command.add_argument(
        "--stage",
        metavar="STAGE",
        help="only failures of this stage; `ingest` means images that did not come in",
    )
    command.add_argument(
        "--reason", metavar="REASON", help="only failures with this reason (see `fld status`)"
    )
    add_keep_going(command)
    command.set_defaults(command=retry)

    command = group.add("verify", "files against their manifests; `fld run` mends them")
    add_work(command)
    add_json(command)
    command.add_argument(
        "--deep", action="store_true", help="read every byte, row and index entry, not only sizes"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="only look and withdraw nothing; works also during a run",
    )
    command.set_defaults(command=verify)

    command = group.add("gc", "remove what the present rounds do not use; never images")
    add_work(command)
    add_json(command)
    command.add_argument(
        "--dry-run", action="store_true", help="only list what would be removed, with its size"
    )
    command.set_defaults(command=gc)
    _add_dedup(group)


def _add_dedup(group: CommandGroup) -> None:
    command = group.add(
        "dedup",
        "which images repeat another: equal, near or semantically",
        description="Which images repeat another: equal or near and, with a model, alike.",
    )
    add_work(command)
    add_json(command)
    add_overrides(command, "distance=6 mirrored=true model=FOLDER ...")
    command.set_defaults(command=dedup)


def retry(args: argparse.Namespace) -> Output:
    """Do the failed samples again."""
    from pipeline.config import saved
    from pipeline.ingest.assignment import list_sources
    from pipeline.maintenance.retry import withdraw
    from pipeline.refinement.executor import run_loop
    from pipeline.report.data import publish_report
    from pipeline.storage import lease

    store = saved.existing(args.work)
    config = saved.load(store)
    with lease.held(store):
        retried = withdraw(store, config, args.stage, args.reason)
        # The loop runs even if nothing was withdrawn: an earlier retry may have been killed.
        run_loop(store, config, list_sources(config), args.keep_going)
        summary = publish_report(store, config.experiment)
    return Output(text=f"{summary}\n{_retried_text(retried)}", value={"retried": retried})


def verify(args: argparse.Namespace) -> Output:
    """Check files against their manifests. The exit code is 1 when there are problems."""
    from dataclasses import asdict

    from pipeline.config import saved
    from pipeline.maintenance import verify
    from pipeline.storage import layout, lease

    store = saved.existing(args.work)
    # A dry run writes nothing, so it needs no lease and may look while a run goes on.
    with nullcontext() if args.dry_run else lease.held(store):
        with progress_bar("verify", "manifest") as advance:
            report = verify.verify(store, args.deep, advance)
        if not args.dry_run:
            verify.withdraw(store, report.problems)
    broken = any(problem.action != "keep" for problem in report.problems)
    withdrawn = broken and not args.dry_run
    text = _problems_text(report, args.deep)
    if withdrawn:
        text += f"\nwithdrawn; `fld run --config {store.shown(layout.CONFIG)}` makes them anew"
    return Output(
        text=text,
        value={**asdict(report), "deep": args.deep, "withdrawn": withdrawn},
        exit_code=int(bool(report.problems)),
    )


def gc(args: argparse.Namespace) -> Output:
    """Remove what the present rounds do not use."""
    from dataclasses import asdict

    from pipeline.config import saved
    from pipeline.maintenance import gc
    from pipeline.storage import lease

    store = saved.existing(args.work)
    with lease.held(store):
        unused = gc.unused(store)
        if not args.dry_run:
            gc.remove(store, unused)
    value = {
        "unused": [asdict(garbage) for garbage in unused],
        "size": sum(garbage.size for garbage in unused),
        "removed": not args.dry_run,
    }
    return Output(text=_unused_text(unused, removed=not args.dry_run), value=value)


def dedup(args: argparse.Namespace) -> Output:
    """List the images that repeat another."""
    from pipeline.config import saved
    from pipeline.config.compose import dotlist
    from pipeline.config.effects import announce, own
    from pipeline.config.validation import build
    from pipeline.maintenance import dedup
    from pipeline.report.terminal import reasons
    from pipeline.storage import lease
    from stages.dedup import DedupConfig

    config = build(DedupConfig, dotlist(args.overrides, DedupConfig), "")
    announce(own(config))
    store = saved.existing(args.work)
    with lease.held(store):
        summary = dedup.dedup(store, saved.load(store), config)
    repeated = reasons(summary["dropped"]) or "0"
    counts = f"{summary['images']:,} images, {summary['kept']:,} kept; repeated: {repeated}"
    if "across_sources" in summary:
        counts += f"; {summary['across_sources']:,} of them repeat an image of another source"
    return Output(text=f"{counts}\n{summary['file']}", value=summary)


def _retried_text(retried: Mapping[str, Mapping[str, int]]) -> str:
    from pipeline.report.terminal import reasons

    if not retried:
        return "nothing failed that works now"
    return "\n".join(f"{stage}: {reasons(counts)}" for stage, counts in retried.items())


def _problems_text(report: VerifyReport, deep: bool) -> str:
    lines = [f"{problem.file}: {problem.problem}" for problem in report.problems]
    if not lines:
        lines.append("no problems")
    checked = "every byte" if deep else "names and sizes"
    lines.append(f"{report.files:,} files, {_size(report.size)}, {checked}")
    return "\n".join(lines)


def _unused_text(unused: Sequence[Unused], removed: bool) -> str:
    lines = [f"{_size(garbage.size):>10}  {garbage.folder}" for garbage in unused]
    total = sum(garbage.size for garbage in unused)
    lines.append(f"{_size(total):>10}  {'removed' if removed else 'to remove'}")
    return "\n".join(lines)


def _size(count: float) -> str:
    """A number of bytes with its unit."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("KB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"
