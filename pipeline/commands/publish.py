"""`fld export`: the labels of a round in the format of other programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from pipeline.commands.group import CommandGroup, Output, add_round

if TYPE_CHECKING:
    from pipeline.quality.coco import Category
    from pipeline.release.ids import ClassTable
    from pipeline.schema import Record
    from pipeline.storage.rounds import OpenRound


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    export = group.add("export", "the labels of a round in another format: COCO")
    formats = export.add_subparsers(required=True, metavar="FORMAT")
    text = "instances.json, captions.json, and results.json if asked for"
    coco = formats.add_parser("coco", help=text, description=text)
    add_round(coco)
    coco.add_argument("out", metavar="OUT", help="the folder for the files")
    coco.add_argument(
        "--source",
        action="append",
        default=[],
        help="only labels of this source (human, detect ...); may repeat",
    )
    coco.add_argument(
        "--categories",
        metavar="FILE",
        help="a COCO file, or a list of its categories, whose numbers the classes must have",
    )
    coco.add_argument(
        "--results",
        action="store_true",
        help="also results.json: the boxes of machines with scores, for pycocotools' loadRes;"
        " human ones only with --source human",
    )
    coco.set_defaults(command=export_coco)


def export_coco(args: argparse.Namespace) -> Output:
    """Write a round as COCO's files."""
    from pathlib import Path

    from pipeline.commands.human_labels import filters_of
    from pipeline.quality.machine_labels import machine_records
    from pipeline.quality.sources import check_sources
    from pipeline.release.coco import coco_of, results_of, write_coco
    from pipeline.release.ids import Numbering
    from pipeline.schema import HUMAN
    from pipeline.storage.rounds import open_round
    from pipeline.storage.source_ids import read_source_ids

    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; give a folder")
    opened = open_round(args.round)
    records = list(opened.records())
    check_sources(args.source, records)
    images = read_source_ids(opened.store).images
    numbering = Numbering(_class_table(opened, records, args.categories), images)
    export = coco_of(records, args.source, numbering, f"Labels of round {opened.name}.")
    results = None
    if args.results:
        measured = records
        if HUMAN not in args.source:
            measured = list(machine_records(records, filters_of(args.round, records)))
        results = results_of(measured, args.source, numbering)
    write_coco(out, export, results)
    counts = [
        f"{len(export.instances['images'])} images",
        f"{len(export.instances['annotations'])} boxes",
        f"{len(export.captions['annotations'])} captions",
    ]
    if results is not None:
        counts.append(f"{len(results)} results")
    return Output(text=f"{out}: {', '.join(counts)}")


def _class_table(opened: OpenRound, records: Sequence[Record], file: str | None) -> ClassTable:
    """The categories of a file, or else those of the round, its source and its detectors."""
    from pipeline.release.class_file import read_categories
    from pipeline.release.ids import ClassTable, class_table
    from pipeline.storage.source_ids import read_source_ids

    if file is not None:
        return ClassTable(read_categories(file))
    known = read_source_ids(opened.store).categories
    return class_table(records, cast("list[Category]", known), _detector_classes(opened))


def _detector_classes(opened: OpenRound) -> list[str]:
    """The classes of the run's detectors, none if its settings cannot be read any more."""
    import logging

    from pipeline.config import saved
    from pipeline.config.names import detector_classes

    try:
        return detector_classes(saved.load(opened.store))
    except (OSError, ValueError) as error:
        logging.getLogger("fld").warning(
            "new classes are numbered by name, because the settings of the run cannot be read: %s",
            error,
        )
        return []
