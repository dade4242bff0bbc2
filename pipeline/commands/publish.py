"""`fld export`: the labels of a round in the format of other programs."""

from __future__ import annotations

import argparse

from pipeline.commands.group import CommandGroup, Output, add_round


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    export = group.add("export", "the labels of a round in another format: COCO")
    formats = export.add_subparsers(required=True, metavar="FORMAT")
    text = "instances.json and captions.json"
    coco = formats.add_parser("coco", help=text, description=text)
    add_round(coco)
    coco.add_argument("out", metavar="OUT", help="the folder for the two files")
    coco.add_argument(
        "--source",
        action="append",
        help="only labels of this source (human, detect ...); may repeat",
    )
    coco.set_defaults(command=export_coco)


def export_coco(args: argparse.Namespace) -> Output:
    """Write a round as COCO's two files."""
    from pathlib import Path

    from pipeline.release.coco import coco_of, write_coco
    from pipeline.storage.rounds import open_round

    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; give a folder")
    instances, captions = coco_of(open_round(args.round).records(), args.source)
    write_coco(out, instances, captions)
    images, boxes = len(instances["images"]), len(instances["annotations"])
    texts = len(captions["annotations"])
    return Output(text=f"{out}: {images} images, {boxes} boxes, {texts} captions")
