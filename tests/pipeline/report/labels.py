"""Small labels and pictures for tests of reports."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from pipeline.schema import (
    Annotations,
    Box,
    Mask,
    Region,
    Text,
    TextRegion,
    Triplet,
)

BOX: Box = (8, 8, 40, 40)
TEXT = Text(
    id="0.caption.0", source="caption", granularity="brief", text="A red circle & a <sign>."
)


def rle(bitmap: np.ndarray) -> Mask:
    counts = coco_mask.encode(np.asfortranarray(bitmap.astype(np.uint8)))["counts"]
    return Mask(size=(bitmap.shape[0], bitmap.shape[1]), counts=counts.decode())


def ring() -> np.ndarray:
    bitmap = np.zeros((64, 64), bool)
    bitmap[8:40, 8:40] = True
    bitmap[16:32, 16:32] = False
    return bitmap


def region(id_: str = "0.detect.0", **more: object) -> Region:
    return Region(
        **{
            "id": id_,
            "source": "detect",
            "box": BOX,
            "phrase": "circle",
            "brief": "red circle",
            **more,
        }
    )


def sample() -> Annotations:
    word = TextRegion(id="0.ocr.0", source="ocr", quad=(44, 44, 60, 44, 60, 52, 44, 52), text="GO")
    grounded = Triplet(
        id="0.ground.0", text_id=TEXT.id, phrase="A red circle", start=0, end=12, box=BOX
    )
    low = region("0.detect.1", phrase="ghost", dropped="low_score", score=0.1)
    return Annotations([TEXT], [region(mask=rle(ring()), score=0.75), low], [word], [grounded])


def jpeg(size: tuple[int, int] = (64, 64), form: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (120, 130, 140)).save(file, form)
    return file.getvalue()
