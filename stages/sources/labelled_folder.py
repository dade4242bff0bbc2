"""Images of a folder with labels that people made, for formats that state no sizes.

Such a format gives boxes in shares of the picture, or names of what is in the picture. A box that
makes no sense comes in dropped, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.schema import CROWD, HUMAN, Annotations, Box, Region, Text
from stages.base import SampleError
from stages.source import Item
from stages.sources.alt import encodable
from stages.sources.coco_labels import NO_BOX, UNKNOWN_CATEGORY
from stages.sources.files import Files
from stages.sources.shapes import Size, box_of, mask_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareBox:
    """A box in shares of the picture's width and height."""

    name: str
    """Its category; empty if the files do not name it."""

    box: Box | None
    """xyxy, 0 to 1; None if it is no box."""

    polygons: Sequence[Sequence[float]] = ()
    """Its outlines: x, y, x, y ..., 0 to 1."""

    is_crowd: bool = False
    """Whether it is around a group of things."""


@dataclass(frozen=True, slots=True)
class FolderLabels:
    """The labels of one image, of which annotations are made when its size is known."""

    boxes: Sequence[ShareBox] = ()
    """What is somewhere in the picture."""

    names: Sequence[str] = field(default_factory=tuple)
    """What the whole picture shows: texts of the granularity `label`."""

    def on(self, size: Size) -> Annotations:
        """The annotations on a picture of this (width, height) in pixels."""
        labels = Annotations()
        for box in self.boxes:
            labels.regions.append(_region(box, size))
        for name in self.names:
            text = encodable(name)
            labels.texts.append(Text(source=HUMAN, granularity="label", text=text))
        return labels


@dataclass(frozen=True, slots=True)
class LabelUse:
    """What a source says of all its labels."""

    annotations: Literal["labels", "truth"] = "labels"
    """Whether they enter the run, or are truth to measure against."""

    upright: bool = False
    """Whether they were drawn on upright pictures, not on the pixels of the files."""


def read_labelled(
    files: Files, names: Sequence[str], labels_of: Callable[[str], FolderLabels], use: LabelUse
) -> Iterator[Item]:
    """The items of some images, each with the labels that `labels_of` has for its name."""
    for name, data in zip(names, files.read(names), strict=True):
        labels = labels_of(name)
        is_truth = use.annotations == "truth"
        yield Item(
            name,
            data=None if isinstance(data, SampleError) else data,
            failed=data if isinstance(data, SampleError) else None,
            given=Annotations() if is_truth else labels,
            truth=labels if is_truth else None,
            upright=use.upright,
        )


def stem_of(name: str) -> str:
    """A file's name without its folders and its suffix."""
    base = name.rpartition("/")[2]
    stem, dot, _ = base.rpartition(".")
    return stem if dot else base


def _region(box: ShareBox, size: Size) -> Region:
    width, height = size
    bbox = None
    if box.box is not None:
        left, top, right, bottom = box.box
        sides = (left * width, top * height, (right - left) * width, (bottom - top) * height)
        bbox = list(sides)
    found, dropped = box_of(bbox, size)
    if dropped is None and not box.name:
        dropped = UNKNOWN_CATEGORY
    if dropped is None and box.is_crowd:
        dropped = CROWD
    outlines = [_in_pixels(polygon, size) for polygon in box.polygons]
    return Region(
        source=HUMAN,
        box=found or NO_BOX,
        phrase=box.name,
        mask=mask_of(outlines, size) if outlines else None,
        dropped=dropped,
    )


def _in_pixels(polygon: Sequence[float], size: Size) -> list[float]:
    return [share * size[place % 2] for place, share in enumerate(polygon)]
