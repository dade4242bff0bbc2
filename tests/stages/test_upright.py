import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as rle

from pipeline.schema import Annotations, Mask, Region, Text, TextRegion, Triplet
from stages.ingest import receive
from stages.source import Item
from stages.upright import fitted, turned

SIZE = (60, 40)
BOX = (5.0, 3.0, 25.0, 18.0)


def drawn(box: tuple[float, float, float, float]) -> np.ndarray:
    x1, y1, x2, y2 = map(int, box)
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    pixels[y1:y2, x1:x2] = 1
    pixels[y1, x1] = 0  # no symmetry
    return pixels


def labels() -> Annotations:
    encoded = rle.encode(np.asfortranarray(drawn(BOX)))
    mask = Mask(size=(SIZE[1], SIZE[0]), counts=encoded["counts"].decode())
    quad = (5.0, 3.0, 25.0, 3.0, 25.0, 18.0, 5.0, 18.0)
    return Annotations(
        texts=[Text(granularity="brief", text="t")],
        regions=[Region(box=BOX, phrase="p", mask=mask)],
        text_regions=[TextRegion(quad=quad, text="w")],
        triplets=[Triplet(text_id="t", phrase="t", start=0, end=1, box=BOX, mask=mask)],
    )


def upright_pixels(orientation: int) -> np.ndarray:
    """The drawn box as Pillow turns it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(drawn(BOX) * 255)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Image.open(buffer))) // 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_places_turn_as_pillow_turns_the_pixels(orientation: int) -> None:
    expected = upright_pixels(orientation)
    rows, columns = np.nonzero(expected)
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    found = turned(labels(), orientation, SIZE)
    for region in (*found.regions, *found.triplets):
        assert region.box == box
        assert region.mask is not None and region.mask.size == expected.shape
        np.testing.assert_array_equal(
            rle.decode({"size": list(region.mask.size), "counts": region.mask.counts.encode()}),
            expected,
        )
    x1, y1, x2, y2 = box
    assert found.text_regions[0].quad == (x1, y1, x2, y1, x2, y2, x1, y2)
    assert found.texts == labels().texts


def photo(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((SIZE[1], SIZE[0], 3), np.uint8)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_labels_are_turned_with_their_picture_unless_they_were_drawn_upright() -> None:
    sideways = turned(labels(), 6, SIZE)
    assert receive(Item("a", photo(6), given=labels(), size=SIZE)).given == sideways
    assert receive(Item("a", photo(6), given=labels())).given == sideways
    assert receive(Item("a", photo(6), given=labels(), size=SIZE[::-1])).given == labels()
    assert receive(Item("a", photo(3), given=labels(), upright=True)).given == labels()
    assert receive(Item("a", photo(3), truth=labels(), size=SIZE)).truth == turned(
        labels(), 3, SIZE
    )


def test_labels_of_a_picture_of_another_size_are_dropped_with_a_reason_and_texts_stay() -> None:
    found = receive(Item("a", photo(1), given=labels(), size=(600, 400))).given
    assert [a.dropped for a in found.all()] == [
        None,
        "size_mismatch",
        "size_mismatch",
        "size_mismatch",
    ]
    assert fitted(labels(), SIZE, SIZE) == labels()


def test_a_mask_of_another_size_is_not_drawn_to_be_turned() -> None:
    large = Mask(size=(9000, 9000), counts="P`_fQ1")
    region = Region(box=BOX, phrase="p", mask=large)
    found = receive(
        Item("a", photo(6), given=Annotations(regions=[region]), size=(9000, 9000))
    ).given.regions[0]
    assert (found.dropped, found.mask) == ("size_mismatch", large)
