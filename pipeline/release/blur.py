"""Regions that are made unrecognisable in the pixels of a release.

Each box becomes a mosaic of at most `CELLS` cells along its longer side, each cell the mean of its
pixels, drawn with soft edges. So what is hidden cannot be computed back, as it could from a light
Gaussian blur. The picture is stored losslessly as PNG, as ingest stores a turned picture. The bytes
depend on the stored bytes and the boxes alone. Of the metadata of the original file, the colour
profile stays.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.release.tables import BLURRED, FlagRow
from pipeline.rows import Record
from pipeline.schema import CROWD, FINDING, Box, Region
from stages.geometry import clipped_box
from stages.image_file import open_image, to_rgb

if TYPE_CHECKING:
    from PIL import Image

CELLS = 6
MARGIN = 0.1
"""Share of its sides by which a box is made larger on each side: a face reaches beyond its box."""
EXTENSION = "png"


def blurred_regions(record: Record, categories: Mapping[str, float]) -> list[Region]:
    """The regions of a record that must be blurred: kept labels, whole crowds, and findings.

    `categories` are phrases with the least score. A region without a score is always blurred.
    """
    found = []
    for region in record.annotations.regions:
        least = categories.get(region.phrase)
        if least is None or region.dropped not in (None, CROWD, FINDING):
            continue
        if region.score is None or region.score >= least:
            found.append(region)
    return found


def with_blur(
    record: Record,
    data: bytes,
    regions: Sequence[Region],
) -> tuple[Record, bytes]:
    """A record and its image with some regions blurred.

    Args:
        record: the record as it is released.
        data: the bytes of the stored image.
        regions: what to blur, at least one.

    Returns:
        The record with the sha256 of the new image and `blurred` in `transform`; the new image.
    """
    image = blur(data, [region.box for region in regions])
    # The orientation stays the last word of `transform`.
    transform = ",".join(filter(None, (BLURRED, record.transform)))
    sha256 = hashlib.sha256(image).hexdigest()
    return replace(record, sha256=sha256, transform=transform), image


def flags(record: Record, regions: Sequence[Region]) -> list[FlagRow]:
    """A row for each blurred region."""
    size = (record.width, record.height)
    rows = []
    for region in regions:
        box = clipped_box(region.box, size)
        row = FlagRow(
            key=record.key,
            type="region",
            id=region.id,
            flag=BLURRED,
            phrase=region.phrase,
            box=list(box),
        )
        rows.append(row)
    return rows


def blur(data: bytes, boxes: Sequence[Box]) -> bytes:
    """The image in a file with some boxes (xyxy in pixels) blurred, as the bytes of a PNG."""
    with open_image(data) as opened:
        image = to_rgb(opened)
    for box in boxes:
        _blur_box(image, box)
    buffer = io.BytesIO()
    profile = image.info.get("icc_profile")
    # What else came with the file, such as where it was taken, is left behind.
    image.info.clear()
    image.save(buffer, "PNG", icc_profile=profile)
    return buffer.getvalue()


def _blur_box(image: Image.Image, box: Box) -> None:
    """Blur a box in place, with its margin."""
    from PIL import Image

    left, top, right, bottom = box
    across, down = (right - left) * MARGIN, (bottom - top) * MARGIN
    grown = (left - across, top - down, right + across, bottom + down)
    left, top, right, bottom = clipped_box(grown, image.size)
    left, top = math.floor(left), math.floor(top)
    right, bottom = math.ceil(right), math.ceil(bottom)
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0:
        return
    cell = max(width, height) / CELLS
    columns = max(1, round(width / cell))
    rows = max(1, round(height / cell))
    corners = (left, top, right, bottom)
    part = image.crop(corners)
    mosaic = part.resize((columns, rows), Image.Resampling.BOX)
    soft = mosaic.resize(part.size, Image.Resampling.BILINEAR)
    image.paste(soft, corners)
