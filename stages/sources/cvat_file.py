"""The XML of CVAT ("CVAT for images 1.1") in the form of a COCO file.

Boxes, polygons and masks become annotations. A turned box has no upright one and comes in dropped.
Points, polylines, skeletons and tags are left out. Source of the format:
https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.schema import Box
from stages.geometry import encode_mask
from stages.sources.coco_file import CocoContent, number_of
from stages.sources.shapes import is_possible

SHAPES = ("box", "polygon", "mask")
# A file is text by people; nothing in it needs entities, which could make it endless.
DOCTYPE = b"<!DOCTYPE"


@dataclass(slots=True)
class Cvat:
    """The lists of a COCO file, made of the XML."""

    images: list[object] = field(default_factory=list)
    annotations: list[object] = field(default_factory=list)
    categories: dict[str, int] = field(default_factory=dict)
    """Ids by name."""
    left_out: int = 0
    """Tags, and shapes that are neither box, polygon nor mask."""

    def add(self, number: int, image: ET.Element) -> None:
        """Add an image with its shapes."""
        size = {"width": image.get("width"), "height": image.get("height")}
        self.images.append({"id": number, "file_name": image.get("name", ""), **size})
        for shape in image:
            if shape.tag in SHAPES:
                entry = _entry(shape, image, self.categories)
                self.annotations.append({"image_id": number, **entry})
            else:
                self.left_out += 1

    def content(self) -> CocoContent:
        """The content of a COCO file."""
        categories: list[object] = [
            {"id": id_, "name": name} for name, id_ in self.categories.items()
        ]
        return {
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
        }


def read_cvat(where: str, data: bytes) -> Cvat:
    """What an XML file holds; `where` names it, for messages.

    Raises:
        ValueError: it is not XML of CVAT.
    """
    if DOCTYPE in data[:10_000].upper():
        raise ValueError(f"{where}: a document type is in it, which CVAT does not write")
    try:
        root = ET.fromstring(data)
    except ET.ParseError as error:
        raise ValueError(f"{where}: not XML ({error})") from None
    if root.tag != "annotations" or root.find("image") is None:
        tracks = root.find("track") is not None
        advice = "; export a video as images (CVAT for images 1.1)" if tracks else ""
        raise ValueError(f"{where}: no <image> in <annotations>, as CVAT has it{advice}")
    found = Cvat()
    for label in root.iterfind(".//labels/label/name"):
        found.categories.setdefault((label.text or "").strip(), len(found.categories) + 1)
    for number, image in enumerate(root.iterfind("image"), 1):
        found.add(number, image)
    return found


def _entry(shape: ET.Element, image: ET.Element, ids: dict[str, int]) -> dict[str, object]:
    """A shape as an annotation of COCO; what makes no sense is None, and comes in dropped."""
    name = shape.get("label", "").strip()
    box: Box | None
    outline: object = None
    if shape.tag == "polygon":
        points = _points(shape.get("points", ""))
        box = _bounds(points)
        outline = [points] if box else None
    elif shape.tag == "mask":
        box = _box_of_mask(shape)
        outline = _runs(shape, image)
    else:
        box = None if float_of(shape.get("rotation", "0")) else _corners(shape)
    bbox = None
    if box is not None:
        bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    return {
        "category_id": ids.setdefault(name, len(ids) + 1) if name else None,
        "bbox": bbox,
        "segmentation": outline,
    }


def float_of(text: str | None) -> float | None:
    """A number in an attribute; None if there is none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _corners(shape: ET.Element) -> Box | None:
    """The box of the corners that stand in a shape; None without four numbers."""
    numbers = _numbers(shape, ("xtl", "ytl", "xbr", "ybr"))
    return None if numbers is None else (numbers[0], numbers[1], numbers[2], numbers[3])


def _numbers(shape: ET.Element, names: Sequence[str]) -> list[float] | None:
    """The numbers in some attributes; None if one has none."""
    found = []
    for name in names:
        number = float_of(shape.get(name))
        if number is None:
            return None
        found.append(number)
    return found


def _points(text: str) -> list[float]:
    """x, y, x, y ... of `x,y;x,y`; empty if it is not that."""
    found = []
    for word in text.replace(";", ",").split(","):
        number = float_of(word)
        if number is None:
            return []
        found.append(number)
    return found if len(found) % 2 == 0 else []


def _bounds(points: Sequence[float]) -> Box | None:
    """The box around points; None without any."""
    if not points:
        return None
    xs = points[::2]
    ys = points[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _box_of_mask(shape: ET.Element) -> Box | None:
    """The box of a mask; None without four numbers."""
    numbers = _numbers(shape, ("left", "top", "width", "height"))
    if numbers is None:
        return None
    left, top, width, height = numbers
    return left, top, left + width, top + height


def _runs(shape: ET.Element, image: ET.Element) -> dict[str, object] | None:
    """The run lengths of a mask as COCO has them; None if they do not fit the picture.

    CVAT's are those of the mask's box, row by row; COCO's those of the picture, column by column.
    """
    width, height = number_of(image.get("width")), number_of(image.get("height"))
    place = _box_of_mask(shape)
    counts = [number_of(word) for word in shape.get("rle", "").split(",")]
    if not width or not height or place is None or None in counts:
        return None
    left, top, right, bottom = map(int, place)
    size = (bottom - top, right - left)
    is_inside = 0 <= left < right <= width and 0 <= top < bottom <= height
    runs = np.array(counts, np.int64)
    fits = is_inside and runs.min() >= 0 and runs.sum() == size[0] * size[1]
    if not fits or not is_possible((width, height)):
        return None
    inside = np.repeat(np.arange(len(runs)) % 2, runs).reshape(size)
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = inside
    return {"size": [height, width], "counts": encode_mask(mask).counts}
