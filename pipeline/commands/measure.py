"""`fld evaluate`, `fld calibrate`, `fld stats` and `fld audit`: thin commands over files and finished rounds.

A round is named by its folder, `WORK/rounds/NN-xxxxxxxx`, or by `WORK` for the head.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline.storage import layout
from pipeline.storage.rounds import OpenRound, open_round


def add(commands: Any) -> None:
    """Register the commands on `fld`'s subparsers."""
    _add_evaluate(commands)
    _add_calibrate(commands)
    stats = commands.add_parser("stats", help="the paper's tables and plots of a round")
    stats.add_argument("round", metavar="ROUND", help="WORK, or WORK/rounds/NN-...")
    stats.add_argument("--out", default=".", help="folder for statistics.json, .md and .png")
    stats.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, no files"
    )
    stats.set_defaults(command=stats_command)
    audit = commands.add_parser("audit", help="judge a sample by eye: precision with intervals")
    steps = audit.add_subparsers(required=True, metavar="STEP")
    sample = steps.add_parser("sample", help="write a page to judge annotations on, in a browser")
    sample.add_argument("round", metavar="ROUND", help="WORK, or WORK/rounds/NN-...")
    sample.add_argument("--n", type=int, default=200, help="annotations of each type")
    sample.add_argument("--per", choices=["type", "source"], default="type", help="what --n counts")
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--out", default="audit.html", help="the page")
    sample.set_defaults(command=audit_sample_command)
    score = steps.add_parser(
        "score", help="precision per type and source of the file that the page saved"
    )
    score.add_argument("file", metavar="FILE")
    score.add_argument("--json", action="store_true", help="one JSON object on standard output")
    score.set_defaults(command=audit_score_command)


def _add_evaluate(commands: Any) -> None:
    from pipeline.quality.formats import FORMATS

    lines = "\n".join(f"  {kind}: {text}" for kind, text in FORMATS.items())
    command = commands.add_parser(
        "evaluate",
        help="predictions against ground truth, with the usual metrics",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='COCO-style JSON, {"images": [{"id"}], "annotations": [..]}, or rounds, against lists of\n'
        f"predictions or rounds (by file name). Boxes are x y width height.\n\n{lines}",
    )
    command.add_argument("kind", choices=list(FORMATS), metavar="KIND", help=", ".join(FORMATS))
    command.add_argument(
        "--ground-truth", required=True, metavar="F", help="a JSON file or a round"
    )
    command.add_argument("--predictions", required=True, metavar="F", help="a JSON file or a round")
    command.add_argument(
        "--tokenized", action="store_true", help="captions are already split by spaces"
    )
    command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    command.set_defaults(command=evaluate_command)


def _add_calibrate(commands: Any) -> None:
    command = commands.add_parser(
        "calibrate", help="score thresholds that reach a wanted precision"
    )
    command.add_argument("round", metavar="ROUND", help="WORK, or WORK/rounds/NN-...")
    command.add_argument(
        "--ground-truth",
        metavar="F",
        help="COCO instances; else the round's own truth or human labels",
    )
    command.add_argument("--precision", type=float, default=0.9, help="wanted, in (0, 1] (0.9)")
    command.add_argument(
        "--iou", type=float, default=0.5, help="from which on a label is right (0.5)"
    )
    command.add_argument(
        "--min-labels", type=int, default=30, help="of a class, for a threshold of its own (30)"
    )
    command.add_argument(
        "--out",
        default="calibration",
        help="folder for filters.yaml, config.yaml, curves.json, .png",
    )
    command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    command.set_defaults(command=calibrate_command)


def calibrate_command(args: argparse.Namespace) -> int:
    """The filters of the run with thresholds that reach the wanted precision, and the curves behind them."""
    import yaml

    from pipeline.config.parse import parse
    from pipeline.quality import calibration
    from pipeline.quality.tables import calibration_curves
    from pipeline.report.terminal import columns

    if not 0 < args.precision <= 1 or not 0 < args.iou <= 1:
        raise ValueError(f"--precision {args.precision} --iou {args.iou}: both are in (0, 1]")
    opened = open_round(args.round)
    values = yaml.safe_load(opened.store.read(layout.CONFIG))
    filters = parse(values).filters
    samples = _labelled(opened, filters, args.ground_truth)
    wanted = calibration.CalibrateConfig(
        precision=args.precision, iou=args.iou, min_labels=args.min_labels
    )
    curves = calibration.calibrate(samples, wanted)
    found = calibration.summary(curves, wanted, len(samples))
    for use, each in calibration.thresholds(curves, args.precision).items():
        for name in (name for name, entry in filters.items() if entry.use == use and each):
            setting = "min_scores" if use == "region_filter" else "min_box_scores"
            values["filters"][name][setting] = {
                **(values["filters"][name].get(setting) or {}),
                **each,
            }
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "filters.yaml").write_text(yaml.safe_dump(values["filters"], sort_keys=False))
    (out / layout.CONFIG).write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    (out / "curves.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "curves.png").write_bytes(calibration_curves(found["curves"], args.precision))
    if args.json:
        print(json.dumps({key: value for key, value in found.items() if key != "curves"}))
        return 0
    table = [["type", "specialist", "class", "labels", "threshold", "precision", "recall"]]
    for row in found["thresholds"]:
        numbers = [
            "never" if row[k] is None else f"{row[k]:.3f}"
            for k in ("threshold", "precision", "recall")
        ]
        table.append(
            [row["type"], row["source"], row["class"] or "all", str(row["labels"]), *numbers]
        )
    print(
        f"{columns(table)}\n{len(samples)} samples; decide anew with: fld run --config {out / layout.CONFIG}"
    )
    return 0


def _labelled(opened: OpenRound, filters: Any, ground_truth: str | None) -> list[Any]:
    """(labels, truth) of the samples whose truth is known."""
    from pipeline.quality.calibration import PLACED, of_coco, of_people, of_source, undecided
    from pipeline.storage.images import read_truth

    told = of_coco(ground_truth) if ground_truth else of_people
    shards = opened.shards()
    truth = (
        {}
        if ground_truth
        else {
            key: each for shard in shards for key, each in read_truth(opened.store, shard).items()
        }
    )
    kinds = tuple(kind for kind in PLACED if any(getattr(each, kind) for each in truth.values()))
    found = []
    for shard in shards:
        for record, labels in undecided(opened.read(shard), filters):
            known = of_source(truth[record.key], kinds) if record.key in truth else told(record)
            found += [(labels, known)] if known else []
    if not found:
        raise ValueError(
            f"{opened.url}: no sample has a known truth; give --ground-truth F (COCO instances of the "
            "round's images)"
        )
    return found


def evaluate_command(args: argparse.Namespace) -> int:
    from pipeline.quality.evaluate import evaluate

    truth, found = _source(args.ground_truth), _source(args.predictions)
    scores = evaluate(args.kind, truth, found, args.tokenized)
    print(
        json.dumps(scores)
        if args.json
        else "\n".join(f"{k:<22}{_shown(v)}" for k, v in scores.items())
    )
    return 0


def stats_command(args: argparse.Namespace) -> int:
    from pipeline.quality.statistics import Statistics
    from pipeline.quality.tables import figure5, markdown

    opened = open_round(args.round)
    counted = Statistics()
    for record in opened.records():
        counted.add(record.annotations, (record.width, record.height))
    found = counted.to_dict()
    if args.json:
        print(json.dumps(found))
        return 0
    page, out = markdown(opened.name, found), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "statistics.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "statistics.md").write_text(f"{page}\n![Figure 5](statistics.png)\n")
    (out / "statistics.png").write_bytes(figure5(found))
    print(f"{page}\nwritten: {out / 'statistics.json'}, statistics.md, statistics.png")
    return 0


def audit_sample_command(args: argparse.Namespace) -> int:
    from pipeline.quality.audit import sample
    from pipeline.report.audit import audit_page
    from pipeline.storage.images import read_image_bytes, read_images

    opened = open_round(args.round)
    items = sample(opened.records(), args.n, args.per, args.seed)
    if not items:
        raise ValueError(f"{args.round}: the round holds no kept annotation to judge")
    wanted = {item.key for item in items}
    images: dict[str, bytes] = {}
    for shard in opened.shards():
        rows = read_images(opened.store, shard)
        if any(row.key in wanted for row in rows):
            found = zip(rows, read_image_bytes(opened.store, shard), strict=True)
            images |= {row.key: data for row, data in found if row.key in wanted}
    Path(args.out).write_text(audit_page(opened.url, items, images))
    print(
        f"{len(items)} annotations to judge: open {args.out} in a browser, save, then `fld audit score FILE`"
    )
    return 0


def audit_score_command(args: argparse.Namespace) -> int:
    """Print the precisions and keep them with the round, where the report finds them."""
    from pipeline.quality.audit import score
    from pipeline.quality.coco import read
    from pipeline.report.terminal import columns

    judged = read(args.file, "audit")
    rows = score(judged)
    opened = open_round(str(judged["round"]))
    opened.store.publish_json(layout.round_audit(opened.folder), rows)
    if args.json:
        print(json.dumps({"round": judged["round"], "precision": rows}))
        return 0
    table = [["type", "source", "judged", "right", "precision", "95% interval"]]
    for row in rows:
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        counts = [str(row["judged"]), str(row["right"])]
        table.append([row["type"], row["source"], *counts, f"{row['precision']:.3f}", interval])
    print(columns(table))
    return 0


def _source(name: str) -> Any:
    """The records of a round, or the name of a JSON file."""
    if name.endswith(".json") or Path(name).is_file():
        return name
    return list(open_round(name).records())


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
