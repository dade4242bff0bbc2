"""`fld evaluate`, `fld calibrate`, `fld stats` and `fld audit`: measure files and finished rounds.

A round is named by its folder, `WORK/rounds/NN-xxxxxxxx`, or by `WORK` for the head.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, cast

from pipeline.commands.group import CommandGroup, Output, add_image_source, add_json, add_round

if TYPE_CHECKING:
    from pipeline.quality.statistics import RoundStatistics
    from pipeline.storage.rounds import OpenRound


def add_commands(group: CommandGroup) -> None:
    """Register the commands."""
    _add_evaluate(group)
    _add_calibrate(group)
    _add_stats(group)
    _add_audit(group)


def _add_evaluate(group: CommandGroup) -> None:
    from pipeline.quality.formats import FORMATS

    description = (
        'COCO-style JSON, {"images": [{"id"}], "annotations": [..]}, or rounds, against lists of\n'
        "predictions or rounds (by file name). Boxes are x y width height.\n"
    )
    for kind, text in FORMATS.items():
        description += f"\n  {kind}: {text}"
    command = group.add(
        "evaluate",
        "predictions against ground truth, with the usual metrics",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=description,
    )
    command.add_argument("kind", choices=list(FORMATS), metavar="KIND", help=", ".join(FORMATS))
    file = "a JSON file or a round"
    command.add_argument("--ground-truth", required=True, metavar="F", help=file)
    command.add_argument("--predictions", required=True, metavar="F", help=file)
    command.add_argument(
        "--source",
        action="append",
        default=[],
        help="of a round of predictions, only labels of this source (detect, human ...); may"
        " repeat. Without it, all but human ones",
    )
    command.add_argument(
        "--tokenized", action="store_true", help="captions are already split by spaces"
    )
    add_image_source(command)
    add_json(command)
    command.set_defaults(command=evaluate)


def _add_calibrate(group: CommandGroup) -> None:
    command = group.add("calibrate", "score thresholds that reach a wanted precision")
    add_round(command)
    add_image_source(command)
    command.add_argument(
        "--ground-truth",
        metavar="F",
        help="COCO instances; without it, the round's own truth or its human labels",
    )
    command.add_argument(
        "--precision", type=float, default=0.9, help="the wanted precision, in (0, 1] (0.9)"
    )
    command.add_argument(
        "--iou", type=float, default=0.5, help="the IoU from which on a label is right (0.5)"
    )
    command.add_argument(
        "--min-labels",
        type=int,
        default=30,
        help="labels of a class that earn it a threshold of its own (30)",
    )
    command.add_argument(
        "--out",
        default="calibration",
        help="folder for filters.yaml, config.yaml, curves.json, .png",
    )
    add_json(command)
    command.set_defaults(command=calibrate)


def _add_stats(group: CommandGroup) -> None:
    command = group.add("stats", "the paper's tables and plots of a round")
    add_round(command)
    add_image_source(command)
    command.add_argument("--out", default=".", help="folder for statistics.json, .md and .png")
    command.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, no files"
    )
    command.set_defaults(command=stats)


def _add_audit(group: CommandGroup) -> None:
    audit = group.add("audit", "judge a sample by eye: precision with intervals")
    steps = audit.add_subparsers(required=True, metavar="STEP")
    text = "write a page to judge annotations on, in a browser"
    sample = steps.add_parser("sample", help=text, description=text)
    add_round(sample)
    add_image_source(sample)
    sample.add_argument("--n", type=int, default=200, help="annotations of each type")
    sample.add_argument("--per", choices=["type", "source"], default="type", help="what --n counts")
    sample.add_argument("--seed", type=int, default=0, help="another seed draws another sample")
    sample.add_argument("--out", default="audit.html", help="the page")
    sample.set_defaults(command=audit_sample)
    text = "precision per type and source of the file that the page saved"
    score = steps.add_parser("score", help=text, description=text)
    score.add_argument("file", metavar="FILE", help="the saved file")
    add_json(score)
    score.set_defaults(command=audit_score)


def evaluate(args: argparse.Namespace) -> Output:
    """Predictions against ground truth."""
    from pipeline.commands.human_labels import filters_of
    from pipeline.quality import evaluate
    from pipeline.report.command_text import scores_table

    truth = evaluate.open_source(args.ground_truth, args.image_source)
    predictions = evaluate.open_source(args.predictions, args.image_source)
    if args.image_source and isinstance(truth, str) and isinstance(predictions, str):
        raise ValueError("--image-source: neither of the two is a round; leave it out")
    filters = {} if isinstance(predictions, str) else filters_of(args.predictions, predictions)
    choice = evaluate.Choice(sources=args.source, filters=filters)
    scores = evaluate.evaluate(args.kind, truth, predictions, args.tokenized, choice)
    return Output(text=scores_table(scores), value=scores)


def calibrate(args: argparse.Namespace) -> Output:
    """The run's filters with thresholds that reach the wanted precision, and the curves."""
    from pipeline.config import saved
    from pipeline.quality.calibrated_round import calibrate_round
    from pipeline.quality.calibration import CalibrateConfig
    from pipeline.report.command_text import calibration_table
    from pipeline.storage import layout
    from pipeline.storage.rounds import open_round

    config = CalibrateConfig(precision=args.precision, iou=args.iou, min_labels=args.min_labels)
    config.check()
    opened = open_round(args.round, args.image_source)
    values = saved.values(opened.store, opened.folder)
    filters = saved.load(opened.store, opened.folder).filters
    found = calibrate_round(opened, values, filters, args.ground_truth, config)
    found.write(args.out)
    for line in found.warnings:
        logging.getLogger("fld").warning("calibration: %s", line)
    text = calibration_table(found.summary["thresholds"])
    samples = found.summary["samples"]
    command = f"fld run --config {args.out}/{layout.CONFIG}"
    text += f"\n{samples} samples; decide anew with: {command}"
    value = {key: part for key, part in found.summary.items() if key != "curves"}
    return Output(text=text, value=value)


def stats(args: argparse.Namespace) -> Output:
    """The paper's tables and plots of a round."""
    from pipeline.quality.tables import write_statistics
    from pipeline.storage.rounds import open_round

    opened = open_round(args.round, args.image_source)
    statistics = round_statistics(opened)
    if args.json:
        return Output(value=statistics)
    return Output(text=write_statistics(args.out, opened.name, statistics))


def round_statistics(opened: OpenRound) -> RoundStatistics:
    """The statistics of a round: as the run has counted them, or else counted now."""
    from pipeline.quality.statistics import statistics_of
    from pipeline.storage import layout

    name = layout.round_statistics(opened.folder)
    source = opened.image_source
    if opened.store.exists(name):
        stored = cast("RoundStatistics", opened.store.read_json(name))
        return stored["by_source"][source] if source else stored
    return statistics_of(opened.records()).to_dict()


def audit_sample(args: argparse.Namespace) -> Output:
    """Write the page on which a person judges a sample of annotations."""
    from pathlib import Path

    from pipeline.quality.audit import sample
    from pipeline.report.audit import audit_page, images_of
    from pipeline.storage.rounds import open_round

    opened = open_round(args.round, args.image_source)
    items = sample(opened.records(), args.n, args.per, args.seed)
    if not items:
        raise ValueError(f"{args.round}: the round has no kept annotation to judge")
    page = audit_page(opened.url, items, images_of(opened, items))
    Path(args.out).write_text(page)
    return Output(
        text=f"{len(items)} annotations to judge: open {args.out} in a browser, save,"
        " then `fld audit score FILE`"
    )


def audit_score(args: argparse.Namespace) -> Output:
    """The precisions, which are also kept with the round, where the report reads them."""
    from pipeline.quality.audit import score
    from pipeline.quality.coco import read
    from pipeline.quality.small_samples import few_verdicts
    from pipeline.report.command_text import audit_table
    from pipeline.storage import layout
    from pipeline.storage.rounds import open_round

    judged = read(args.file, "audit")
    rows = score(judged)
    line = few_verdicts(rows)
    if line is not None:
        logging.getLogger("fld").warning("audit: %s", line)
    opened = open_round(str(judged["round"]))
    opened.store.publish_json(layout.round_audit(opened.folder), rows)
    return Output(text=audit_table(rows), value={"round": judged["round"], "precision": rows})
