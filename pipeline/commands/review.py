"""`fld review`: samples go to people, and their labels come back."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.commands.group import CommandGroup, Output, add_json, add_round, add_work

if TYPE_CHECKING:
    from pipeline.storage.rounds import OpenRound


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    review = group.add("review", "samples go to people, and their labels come back")
    steps = review.add_subparsers(required=True, metavar="STEP")
    text = "the least certain samples and some by chance, as Label Studio's tasks and as COCO"
    export = steps.add_parser("export", help=text, description=text)
    add_round(export)
    export.add_argument("out", metavar="OUT", help="a new folder for the files")
    export.add_argument("--n", type=int, default=20, help="how many samples (default 20)")
    export.add_argument(
        "--random",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="the share that is picked by chance, for an honest estimate (default 0.25)",
    )
    export.add_argument("--seed", type=int, default=0, help="of the random part (default 0)")
    export.add_argument(
        "--texts", action="store_true", help="review the texts, too, and not only the boxes"
    )
    export.add_argument(
        "--prefix",
        metavar="URL",
        help="where the folder will be served (default: as local files of Label Studio)",
    )
    export.set_defaults(command=export_review)
    text = "labels that people left, changed or drew: human and locked from the next run on"
    importing = steps.add_parser("import", help=text, description=text)
    add_work(importing)
    importing.add_argument(
        "file",
        metavar="FILE",
        help="Label Studio's JSON export, COCO's instances.json (all its images count as reviewed),"
        " or a judged audit",
    )
    importing.add_argument("--reviewer", default="", metavar="NAME", help="who has reviewed them")
    add_json(importing)
    importing.set_defaults(command=import_file)


def export_review(args: argparse.Namespace) -> Output:
    """Pick samples and write what a labelling tool needs."""
    from pathlib import Path

    from pipeline.commands.publish import class_table_of
    from pipeline.release.export_folder import ExportFolder
    from pipeline.release.exported import LabelledRound
    from pipeline.release.ids import Numbering
    from pipeline.release.labelstudio import PREFIX, TEXTS
    from pipeline.review.export import write_review
    from pipeline.review.picks import RANDOM, REGIONS, pick
    from pipeline.storage.rounds import open_round

    opened = open_round(args.round)
    folder = ExportFolder(Path(args.out))
    folder.check()
    held_out = _held_out_of(opened)
    picks = pick(opened.records(), args.n, args.random, args.seed, held_out)
    groups = [REGIONS, *TEXTS] if args.texts else [REGIONS]
    prefix = PREFIX if args.prefix is None else f"{args.prefix.rstrip('/')}/"
    numbering = Numbering(class_table_of(LabelledRound(opened), None))
    labels = write_review(opened, folder, picks, numbering, groups, prefix)
    by_chance = sum(each.why == RANDOM for each in picks)
    lines = [
        f"{folder.path}: {len(picks)} samples, {by_chance} of them by chance, {labels} labels",
        "Label Studio: config.xml is the labelling interface, tasks.json is to be imported; press "
        "Submit on each task",
    ]
    return Output(text="\n".join(lines))


def _held_out_of(opened: OpenRound) -> Callable[[str], bool] | None:
    """Whether a sample is held out of training, None if no sample is."""
    from pipeline.config import saved
    from stages.base import held_out

    share = saved.load(opened.store).refine.gate.held_out
    return (lambda key: held_out(key, share)) if share else None


def import_file(args: argparse.Namespace) -> Output:
    """Bring the labels of people back."""
    from pipeline.quality.coco import read
    from pipeline.review.importing import import_review
    from pipeline.storage.store import Store

    store = Store(args.work)
    content = read(args.file, "review")
    imported = import_review(store, args.file, content, args.reviewer)
    if not imported.samples:
        raise ValueError(
            f"{args.file}: no review in it: none of its {imported.unanswered} samples is "
            "submitted; in Label Studio press Submit on each task, and export again"
        )
    listed = ", ".join(f"{count} {what}" for what, count in imported.counts.items())
    lines = [f"{imported.samples} samples reviewed: {listed or 'no labels'}"]
    if imported.unanswered:
        lines.append(f"{imported.unanswered} samples of the file are not submitted")
    if imported.replaced:
        lines.append(f"earlier reviews of {imported.replaced} of these samples are replaced")
    if imported.lost_masks:
        lines.append(
            f"{imported.lost_masks} of the changed boxes have no mask any more: they were moved, "
            "and their masks show the old places"
        )
    if estimate := imported.estimate():
        lines.append(estimate)
    lines.append(f"the next `fld run --config {store.url}/config.yaml` takes the labels over")
    value = {
        "samples": imported.samples,
        "unanswered": imported.unanswered,
        "labels": dict(imported.counts),
        "random": dict(imported.random),
        "lost_masks": imported.lost_masks,
    }
    return Output(text="\n".join(lines), value=value)
