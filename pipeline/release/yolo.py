"""Boxes as YOLO's text files: `fld export yolo`.

    data.yaml                   the classes, and the folder of images of each split
    images/SPLIT/KEY.jpg        the stored images
    labels/SPLIT/KEY.txt        a line for each box: CLASS X Y WIDTH HEIGHT

X and Y are those of the middle; all four are shares of the image's width or height. Every image
has its text file, an empty one if it has no box. The number of a class is its place in the table of
`ids.py`, so it does not depend on `--source`. A round has no splits, so it is `train`, and
`data.yaml` names it as `val`, too: Ultralytics wants both. Source of the format:
https://docs.ultralytics.com/datasets/detect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.release.config import TRAIN
from pipeline.release.export_folder import ExportFolder
from pipeline.release.exported import Export, kinds_but
from pipeline.rows import Record

# Decimals of a share: of the widest image that is accepted, one unit is below 0.001 pixel.
DECIMALS = 8
VALIDATION, TEST = "validation", "test"
# What YOLO calls the splits that releases usually have.
NAMES = {TRAIN: "train", VALIDATION: "val", TEST: "test"}


def write_yolo(
    export: Export,
    folder: ExportFolder,
    classes: Sequence[str],
) -> dict[str, int]:
    """Write the files; returns how many images and boxes they hold.

    Args:
        export: what is exported.
        folder: an empty folder.
        classes: the names of all classes, in their order.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    images = boxes = 0
    for sample in export.samples():
        export.leave_out(sample.record, *kinds_but("regions"), "masks")
        lines = box_lines(sample.record, numbers)
        folder.add_image(sample, f"images/{sample.split}")
        folder.write(f"labels/{sample.split}/{sample.record.key}.txt", "".join(lines))
        images += 1
        boxes += len(lines)
    splits = sorted({part.split for part in export.labelled.parts()})
    # It comes last, so that a whole export can be told from a part of one.
    folder.write("data.yaml", data_yaml(splits, classes))
    return {"images": images, "boxes": boxes}


def box_lines(record: Record, numbers: Mapping[str, int]) -> list[str]:
    """The lines of a sample's text file; `numbers` has those of all classes."""
    lines = []
    for region in record.annotations.regions:
        left, top, right, bottom = region.box
        shares = (
            (left + right) / 2 / record.width,
            (top + bottom) / 2 / record.height,
            (right - left) / record.width,
            (bottom - top) / record.height,
        )
        values = " ".join(f"{share:.{DECIMALS}f}" for share in shares)
        lines.append(f"{numbers[region.phrase]} {values}\n")
    return lines


def data_yaml(splits: Sequence[str], classes: Sequence[str]) -> str:
    """The content of `data.yaml`. Without `path`, its own folder is the root."""
    import yaml

    content: dict[str, object] = {}
    for split in splits:
        content[NAMES.get(split, split)] = f"images/{split}"
    if splits:
        content.setdefault("train", f"images/{splits[0]}")
        content.setdefault("val", content["train"])
    content["nc"] = len(classes)
    content["names"] = dict(enumerate(classes))
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text
