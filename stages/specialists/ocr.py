"""Text in the image. In: image. Out: text regions, a quad (clockwise from the top left) and a string each.

Paper section 4.3 takes a cloud OCR service; this is RapidOCR (PP-OCR detection, direction and recognition on
onnxruntime), whose models ship inside its wheel, so that it runs offline. `score` is the recogniser's
confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Quad, TextRegion
from stages.base import Batch, Result, thread_count

SMALLEST = 64  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class RapidOcrConfig:
    min_score: float = 0.1  # raw signal: the region filter decides
    box_threshold: float = 0.5
    unclip: float = (
        1.6  # how far the detector's shrunk text cores are grown into quads; lower is tighter
    )
    side: int = (
        960  # text is sought with the longer side at this many pixels (at most twice the image's)
    )


def clockwise(corners: np.ndarray) -> Quad:
    """The four corners clockwise (y down), starting with the one nearest the top left."""
    centre = corners.mean(0)
    angle = np.arctan2(corners[:, 1] - centre[1], corners[:, 0] - centre[0])
    corners = corners[np.argsort(angle, kind="stable")]
    first = int(corners.sum(1).argmin())
    return tuple(np.roll(corners, -first, axis=0).astype(float).ravel().tolist())


def enlarge(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The image at up to twice its size, until its longer side has `side` pixels, and the factor. Narrow ones
    are padded at the right and the bottom: the detector fails below 32 pixels."""
    scale = min(max(side / max(image.shape[:2]), 1.0), 2.0)
    if scale > 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    missing = [max(0, SMALLEST - n) for n in image.shape[:2]]
    return cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE), scale


class RapidOcr:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: RapidOcrConfig) -> None:
        from rapidocr import RapidOCR
        from rapidocr.utils.output import RapidOCROutput

        self.side = config.side
        self.output = RapidOCROutput  # other types mean that there was nothing to read
        self.engine = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.text_score": config.min_score,
                "EngineConfig.onnxruntime.intra_op_num_threads": thread_count(),
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Det.box_thresh": config.box_threshold,
                "Det.unclip_ratio": config.unclip,
                "Det.limit_side_len": config.side,
                "Det.limit_type": "max",
            }
        )

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(text_regions=self.read(sample.pixels)) for sample in batch]

    def read(self, image: np.ndarray) -> list[TextRegion]:
        pixels, scale = enlarge(image, self.side)
        found = self.engine(np.ascontiguousarray(pixels[..., ::-1]))
        if (
            not isinstance(found, self.output)
            or found.boxes is None
            or not found.txts
            or not found.scores
        ):
            return []
        limit = [image.shape[1], image.shape[0]]
        return [
            TextRegion(
                quad=clockwise(np.clip(corners / scale, 0, limit)), text=text, score=float(score)
            )
            for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]
