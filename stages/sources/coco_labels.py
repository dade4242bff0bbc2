"""The entries of a COCO file as annotations of source `human`.

The parts of an entry are judged apart: a box that makes no sense drops the label, while of an
outline only what makes no sense is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.schema import CROWD, HUMAN, Annotations, Box, Region, Text
from stages.sources.alt import encodable
from stages.sources.coco_file import Entry, id_of, number_of
from stages.sources.shapes import Size, box_of, mask_of, size_of_runs

UNKNOWN_CATEGORY, MALFORMED_CAPTION = "unknown_category", "malformed_caption"
# The box of a label that has none.
NO_BOX = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CocoLabels:
    """The entries of one image, of which annotations are made when its size is known."""

    categories: Mapping[str, str]
    """The names of categories by their ids."""

    instances: Sequence[Entry] = field(default_factory=list)
    """Boxes and masks."""

    captions: Sequence[Entry] = field(default_factory=list)
    """Captions."""

    def on(self, size: Size) -> Annotations:
        """The annotations on a picture of this (width, height) in pixels.

        What makes no sense is dropped with a reason.
        """
        ids = set[str]()
        labels = Annotations()
        for entry in self.instances:
            id_ = _new_id("regions", entry, ids)
            labels.regions.append(_region(entry, id_, size, self.categories))
        for entry in self.captions:
            id_ = _new_id("texts", entry, ids)
            labels.texts.append(_text(entry, id_))
        return labels


@dataclass(slots=True)
class SourceImage:
    """The entries of one image."""

    size: Size | None
    """(width, height) in pixels; None if no file says it."""

    instances: list[Entry] = field(default_factory=list)
    """Boxes and masks."""

    captions: list[Entry] = field(default_factory=list)
    """Captions."""

    def boxes(self) -> list[Box]:
        """Its boxes, xyxy in pixels, as far as they make sense."""
        boxes = []
        for entry in self.instances:
            box, _ = box_of(entry.get("bbox"), self.size or (1, 1))
            if box is not None:
                boxes.append(box)
        return boxes

    def drawn_size(self) -> Size | None:
        """(width, height) of the picture on which it was drawn; run lengths say it, too."""
        if self.size is not None:
            return self.size
        sizes = {size_of_runs(entry.get("segmentation")) for entry in self.instances} - {None}
        return sizes.pop() if len(sizes) == 1 else None


def _region(entry: Entry, id_: str, size: Size, categories: Mapping[str, str]) -> Region:
    category_id = id_of(entry.get("category_id"))
    category = "" if category_id is None else categories.get(category_id, "")
    box, dropped = box_of(entry.get("bbox"), size)
    if dropped is None and not category:
        dropped = UNKNOWN_CATEGORY
    if dropped is None and number_of(entry.get("iscrowd")) == 1:
        dropped = CROWD
    return Region(
        id=id_,
        source=HUMAN,
        box=box or NO_BOX,
        phrase=category,
        mask=mask_of(entry.get("segmentation"), size),
        dropped=dropped,
    )


def _text(entry: Entry, id_: str) -> Text:
    caption = entry.get("caption")
    text = encodable(caption) if isinstance(caption, str) else ""
    dropped = None if text.strip() else MALFORMED_CAPTION
    return Text(id=id_, source=HUMAN, granularity="brief", text=text, dropped=dropped)


def _new_id(kind: str, entry: Entry, taken: set[str]) -> str:
    """An id of its own for an entry, which joins `taken`.

    It holds COCO's own id, so that a label keeps its name when others are added. An entry without
    a number as its id gets one.
    """
    number = f"x{len(taken)}"
    own = number_of(entry.get("id"))
    id_ = f"{HUMAN}.{kind}.{number if own is None else own}"
    if id_ in taken:
        id_ += number
    taken.add(id_)
    return id_
