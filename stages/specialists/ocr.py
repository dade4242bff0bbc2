"""Text in the image. In: image. Out: text regions, a quad (clockwise from the top left) and a string each.

Paper section 4.3 takes a cloud OCR service; this is RapidOCR (PP-OCR detection, direction and recognition on
onnxruntime), whose models ship inside its wheel, so that it runs offline. `score` is the recogniser's
confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Quad, TextRegion
from stages.base import Batch, Result, thread_count


@dataclass(frozen=True, slots=True, kw_only=True)
class RapidOcrConfig:
    min_score: float = 0.1  # raw signal: the region filter decides
    box_threshold: float = 0.5
    unclip: float = 1.6  # how far the detector's shrunk text cores are grown into quads; lower is tighter
    side: int = (
        736  # images are resized for detection until the side that `side_is` names has this many pixels
    )
    side_is: str = "min"


def clockwise(corners: np.ndarray) -> Quad:
    """The four corners clockwise (y down), starting with the one nearest the top left."""
    centre = corners.mean(0)
    angle = np.arctan2(corners[:, 1] - centre[1], corners[:, 0] - centre[0])
    corners = corners[np.argsort(angle, kind="stable")]
    first = int(corners.sum(1).argmin())
    return tuple(np.roll(corners, -first, axis=0).astype(float).ravel().tolist())


class RapidOcr:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: RapidOcrConfig) -> None:
        from rapidocr import RapidOCR
        from rapidocr.utils.output import RapidOCROutput

        if config.side_is not in ("min", "max"):
            raise ValueError(f"side_is={config.side_is!r}: use min or max")
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
                "Det.limit_type": config.side_is,
            }
        )

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(text_regions=self.read(sample.pixels)) for sample in batch]

    def read(self, image: np.ndarray) -> list[TextRegion]:
        found = self.engine(np.ascontiguousarray(image[..., ::-1]))
        if not isinstance(found, self.output) or found.boxes is None or not found.txts or not found.scores:
            return []
        limit = [image.shape[1], image.shape[0]]
        return [
            TextRegion(quad=clockwise(np.clip(corners, 0, limit)), text=text, score=float(score))
            for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]
