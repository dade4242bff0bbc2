"""`fld release`: make a release of a round, check and publish it, list what a version changed."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any

from pipeline.commands.group import (
    CommandGroup,
    Output,
    add_json,
    add_overrides,
    add_work,
    progress_bar,
)

if TYPE_CHECKING:
    from pipeline.release.push import Push
    from pipeline.release.push_plan import Plan
    from pipeline.release.statistics import Totals


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    release = group.add("release", "make, check, compare and push releases of a round")
    steps = release.add_subparsers(required=True, metavar="STEP")
    text = "tars, tables, card, Croissant metadata and checksums; the same command resumes"
    build = steps.add_parser("build", help=text, description=text)
    add_work(build)
    add_json(build)
    add_overrides(
        build, "name=NAME version=1.0.0 sources.SOURCE.licence=CC-BY-4.0 splits.test=0.1 ..."
    )
    build.set_defaults(command=build_release)
    text = "check a release without its work folder; exit code 1 if something is wrong"
    verify = steps.add_parser("verify", help=text, description=text)
    verify.add_argument("folder", metavar="DIR", help="the folder of a release")
    add_json(verify)
    verify.set_defaults(command=verify_release)
    text = "what a version added, removed and changed, with reasons"
    diff = steps.add_parser("diff", help=text, description=text)
    diff.add_argument("old", metavar="OLD", help="the folder of a release")
    diff.add_argument("new", metavar="NEW", help="the folder of another version")
    diff.add_argument("--out", metavar="FILE", help="write every change into FILE, one JSON a line")
    add_json(diff)
    diff.set_defaults(command=diff_releases)
    _add_push(steps)


def _add_push(steps: Any) -> None:
    """Register `fld release push`."""
    text = "upload a release to the Hugging Face Hub, tagged by its version; resumes"
    push = steps.add_parser("push", help=text, description=text)
    push.add_argument("folder", metavar="DIR", help="the folder of a release")
    push.add_argument("repo", metavar="REPO", help="the data set repository: NAMESPACE/NAME")
    push.add_argument("--private", action="store_true", help="only its owners may see it")
    push.add_argument("--dry-run", action="store_true", help="only print what would be uploaded")
    push.add_argument("--revision", metavar="BRANCH", default="main", help="default: main")
    add_json(push)
    push.set_defaults(command=push_release)


def build_release(args: argparse.Namespace) -> Output:
    """Make a release, or go on with one."""
    from pipeline.config import saved
    from pipeline.config.effects import announce, own
    from pipeline.execution.engine import Engine
    from pipeline.quality.pending_reviews import pending_line
    from pipeline.release.build import build
    from pipeline.release.terms import complete
    from pipeline.storage import lease
    from pipeline.storage.sources import read_sources

    store = saved.existing(args.work)
    run = saved.load(store)
    config = complete(args.overrides, run, read_sources(store))
    announce(own(config))
    if waiting := pending_line(store):
        # A version that is out is never changed, so it would lack the corrections for good.
        raise ValueError(waiting)
    with lease.held(store):
        built = build(store, run, config, Engine(run.cluster, store))
    folder = store.path(built.folder)
    text = _counts(built.totals)
    text += f"\n{folder}" if built.is_new else f"\n{folder}: was there already"
    return Output(text=text, value={"folder": folder, "new": built.is_new, **built.totals})


def verify_release(args: argparse.Namespace) -> Output:
    """Check everything that can be checked of a release."""
    from dataclasses import asdict

    from pipeline.release.findings import OTHER_BYTES
    from pipeline.release.verify import verify

    with progress_bar("verify", "shard") as advance:
        report = verify(args.folder, advance)
    lines = [finding.line for finding in report.findings]
    problems = f"{len(lines):,} problem{'s' if len(lines) > 1 else ''}" if lines else "no problems"
    lines.append(
        f"{problems}: {report.files:,} files, {report.samples:,} samples, "
        f"{report.annotations:,} annotations"
    )
    if not report.is_recounted:
        lines.append(
            "not compared with a recount, as something that is counted cannot be read: card, "
            "statistics, croissant.json"
        )
    damaged = [finding.file for finding in report.findings if finding.problem == OTHER_BYTES]
    if damaged:
        lines.append(
            f"damaged: {', '.join(damaged)}; get these files again from where the release came "
            "from, or build it again; other problems may follow from them"
        )
    return Output(text="\n".join(lines), value=asdict(report), exit_code=int(bool(report.findings)))


def diff_releases(args: argparse.Namespace) -> Output:
    """What one release has and another has not."""
    from pipeline.release.diff import diff, diff_text

    found = diff(args.old, args.new, args.out)
    return Output(text=diff_text(found), value=found)


def push_release(args: argparse.Namespace) -> Output:
    """Upload what the Hub does not have of a release."""
    from dataclasses import asdict

    from huggingface_hub import HfApi

    from pipeline.release.push import Push, Target, check_token
    from pipeline.release.push_plan import local_release

    target = Target(repo=args.repo, revision=args.revision, is_private=args.private)
    target.check()
    api = HfApi()
    if not args.dry_run:
        # A release may be large: what can be refused is refused before it is read.
        check_token(api)
    with progress_bar("verify", "shard") as advance:
        release = local_release(args.folder, advance)
    push = Push(release, target, api)
    if args.dry_run:
        plan = _planned(push)
        lines = [*plan.uploads, *(f"deleted: {name}" for name in plan.deletions)]
        lines.append(f"to upload: {len(plan.uploads):,} files, {plan.bytes:,} bytes")
        if plan.is_new:
            lines.append(f"{args.repo}: a new repository")
    else:
        with progress_bar("push", "file") as advance:
            plan = push.run(advance)
        lines = [f"uploaded: {len(plan.uploads):,} files, {plan.bytes:,} bytes"]
    if plan.is_done:
        lines = [f"{args.repo}: version {plan.version} is there already"]
    return Output(text="\n".join(lines), value={"repo": args.repo, **asdict(plan)})


def _planned(push: Push) -> Plan:
    """What a push would do; everything, with a warning, if the Hub cannot be asked."""
    from pipeline.release.hub import HubOffline, HubUnreachable

    try:
        return push.plan()
    except (HubOffline, HubUnreachable) as error:
        reason = str(error).partition(";")[0]
        logging.getLogger("fld").warning("%s; all files are listed, as if it had none", reason)
        return push.release.plan({})


def _counts(totals: Totals) -> str:
    """A line for each split, and one for what is left out."""
    lines = []
    for split, counts in totals["splits"].items():
        parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()]
        lines.append(f"{split}: {', '.join(parts)}")
    removed = totals["removed"].get("sample", {})
    reasons = [f"{reason} {count:,}" for reason, count in removed.items()]
    lines.append(f"samples left out: {', '.join(reasons) or 0}")
    return "\n".join(lines)
