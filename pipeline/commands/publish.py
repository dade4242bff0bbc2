"""`fld export`: the labels of a round or a release in the format of other programs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, cast

from pipeline.commands.group import CommandGroup, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.quality.coco import Category
    from pipeline.release.export_folder import ExportFolder
    from pipeline.release.exported import Export, Labelled
    from pipeline.release.ids import ClassTable, Numbering
    from pipeline.rows import Record
    from pipeline.storage.store import Store

FORMATS = {
    "coco": "instances.json, captions.json, and results.json if asked for",
    "yolo": "images, a text file of boxes for each, and data.yaml",
    "labelstudio": "images, tasks.json and the labelling interface config.xml",
    "fiftyone": "images and labels.json: FiftyOneImageDetectionDataset",
    "parquet": "images, boxes and texts as Parquet files for the library datasets",
    "florence": "images, and JSON lines of image, prefix, suffix to fine-tune Florence-2",
}


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    export = group.add("export", "labels for other programs: COCO, YOLO, Label Studio ..")
    formats = export.add_subparsers(required=True, metavar="FORMAT")
    parsers = {name: _add_format(formats, name, text) for name, text in FORMATS.items()}
    for name in ("coco", "yolo", "labelstudio"):
        parsers[name].add_argument(
            "--categories",
            metavar="FILE",
            help="a COCO file or a list of its categories: classes get their numbers (yolo: order)",
        )
    parsers["coco"].add_argument(
        "--results",
        action="store_true",
        help="also results.json: the boxes of machines with scores, for pycocotools' loadRes;"
        " human ones only with --source human",
    )
    parsers["labelstudio"].add_argument(
        "--prefix",
        metavar="URL",
        help="where the folder will be served (default: as local files of Label Studio)",
    )
    parsers["florence"].add_argument(
        "--task",
        action="append",
        default=[],
        help="only examples of this task (<OD> ...); may repeat",
    )
    for name in ("yolo", "labelstudio", "fiftyone", "florence"):
        parsers[name].add_argument(
            "--link",
            action="append",
            default=[],
            metavar="FOLDER",
            help="link to equal images in this folder of a source, copy others; may repeat",
        )


def _add_format(formats: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Register a format with the arguments that all of them have."""
    parser: argparse.ArgumentParser = formats.add_parser(name, help=text, description=text)
    parser.add_argument(
        "round", metavar="ROUND", help="WORK, WORK/rounds/NN-..., or the folder of a release"
    )
    parser.add_argument("out", metavar="OUT", help="the folder for the files")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        help="only labels of this source (human, detect ...); may repeat",
    )
    parser.set_defaults(command=export_coco if name == "coco" else export_images, format=name)
    return parser


def export_images(args: argparse.Namespace) -> Output:
    """Write a round or a release in a format that has the images beside the labels."""
    import logging
    from pathlib import Path

    from pipeline.quality.sources import check_sources
    from pipeline.release.export_folder import ExportFolder
    from pipeline.release.exported import Export, open_labelled

    labelled = open_labelled(args.round)
    _tell_pending(labelled)
    check_sources(args.source, labelled.records())
    links = [Path(link) for link in getattr(args, "link", ())]
    folder = ExportFolder(Path(args.out), links)
    export = Export(labelled, args.source)
    folder.check()
    counts = _write(args, export, folder)
    for line in (*export.warnings(args.format), *folder.warnings()):
        logging.getLogger("fld").warning(line)
    listed = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Output(text=f"{folder.path}: {listed}")


def _tell_pending(labelled: Labelled) -> None:
    """Tell of labels of people that the round does not have yet."""
    import logging

    from pipeline.quality.pending_reviews import pending_line

    line = pending_line(labelled.origin.store) if labelled.origin else None
    if line:
        logging.getLogger("fld").warning(line)


def _write(args: argparse.Namespace, export: Export, folder: ExportFolder) -> dict[str, int]:
    """Write one of the formats with images; what it holds, counted."""
    from pipeline.release.fiftyone import write_fiftyone
    from pipeline.release.florence_export import write_florence
    from pipeline.release.labelstudio import PREFIX, write_labelstudio
    from pipeline.release.parquet_export import write_parquet
    from pipeline.release.yolo import write_yolo

    match args.format:
        case "yolo":
            return write_yolo(export, folder, _class_names(export, args.categories))
        case "labelstudio":
            prefix = PREFIX if args.prefix is None else f"{args.prefix.rstrip('/')}/"
            classes = _class_names(export, args.categories)
            return write_labelstudio(export, folder, classes, prefix)
        case "fiftyone":
            return write_fiftyone(export, folder)
        case "parquet":
            return write_parquet(export, folder)
    return write_florence(export, folder, args.task)


def export_coco(args: argparse.Namespace) -> Output:
    """Write a round or a release as COCO's files."""
    import logging
    from pathlib import Path

    from pipeline.quality.sources import check_sources
    from pipeline.release.coco import coco_of, results_of, write_coco
    from pipeline.release.export_folder import check_folder
    from pipeline.release.exported import Export, LabelledRelease, open_labelled
    from pipeline.schema import HUMAN

    out = Path(args.out)
    check_folder(out)
    labelled = open_labelled(args.round)
    _tell_pending(labelled)
    stored = _fully_named(labelled)
    check_sources(args.source, stored)
    numbering = _numbering(labelled, args.categories)
    is_release = isinstance(labelled, LabelledRelease)
    about = f"Labels of {'release' if is_release else 'round'} {labelled.name}."
    exported = Export(labelled, crowds=True)
    records = [exported.counted(record) for record in stored]
    export = coco_of(records, args.source, numbering, about)
    results = None
    if args.results:
        measured = records if HUMAN in args.source else _machine_made(args, stored, is_release)
        results = results_of(measured, args.source, numbering)
    write_coco(out, export, results)
    for line in exported.warnings("coco"):
        logging.getLogger("fld").warning(line)
    counts = [
        f"{len(export.instances['images'])} images",
        f"{len(export.instances['annotations'])} boxes",
        f"{len(export.captions['annotations'])} captions",
    ]
    if results is not None:
        counts.append(f"{len(results)} results")
    return Output(text=f"{out}: {', '.join(counts)}")


def _numbering(labelled: Labelled, file: str | None) -> Numbering:
    """From what an export takes its ids; `file` is one of categories."""
    from pipeline.release.ids import Numbering
    from pipeline.storage.source_ids import read_all_ids

    images = read_all_ids(labelled.origin.store).images if labelled.origin else {}
    return Numbering(class_table_of(labelled, file), images)


def _fully_named(labelled: Labelled) -> list[Record]:
    """The records, in a run with several sources with names that say the source, too."""
    from dataclasses import replace

    from pipeline.storage.sources import read_sources

    records = list(labelled.records())
    work = read_sources(labelled.origin.store) if labelled.origin else None
    if work is None or not work.several:
        return records
    named = []
    for record in records:
        named.append(replace(record, name=f"{work.of_key(record.key)}/{record.name}"))
    return named


def _machine_made(
    args: argparse.Namespace, stored: Sequence[Record], is_release: bool
) -> list[Record]:
    """The records with the labels that machines would have made without human ones."""
    from pipeline.commands.human_labels import filters_of
    from pipeline.quality.machine_labels import machine_records
    from pipeline.release.content import content_of

    filters = {} if is_release else filters_of(args.round, stored)
    return [content_of(record).record for record in machine_records(stored, filters)]


def _class_names(export: Export, file: str | None) -> list[str]:
    """The names of all classes by their numbers.

    Raises:
        ValueError: the file does not have the class of a box.
    """
    from pipeline.release.ids import class_name

    table = class_table_of(export.labelled, file)
    names = dict.fromkeys(class_name(category) for category in table.all())
    missing = set[str]()
    for record in export.records():
        missing |= {region.phrase for region in record.annotations.regions} - names.keys()
    if missing:
        raise ValueError(
            f"the categories do not have {', '.join(sorted(missing))}; add them, or leave the "
            "labels out by --source"
        )
    return list(names)


def class_table_of(labelled: Labelled, file: str | None) -> ClassTable:
    """The categories of a file, or else those of the round, its source and its detectors.

    A release has those of its round, also of labels that it has left out, if the round is at hand.
    """
    from pipeline.release.class_file import read_categories
    from pipeline.release.ids import ClassTable, class_table
    from pipeline.storage.source_ids import read_all_ids

    if file is not None:
        return ClassTable(read_categories(file))
    opened = labelled.origin
    if opened is None:
        return class_table(labelled.records())
    known = cast("list[Category]", read_all_ids(opened.store).categories)
    return class_table(opened.records(), known, _detector_classes(opened.store))


def _detector_classes(work: Store) -> list[str]:
    """The classes of the run's detectors, none if its settings cannot be read any more."""
    import logging

    from pipeline.config import saved
    from pipeline.config.names import detector_classes

    try:
        return detector_classes(saved.load(work))
    except (OSError, ValueError) as error:
        logging.getLogger("fld").warning(
            "new classes are numbered by name, because the settings of the run cannot be read: %s",
            error,
        )
        return []
