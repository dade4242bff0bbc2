"""Text in the image.

In: image. Out: text regions, a quad (clockwise from the top left) and a string each.

Paper section 4.3 uses a cloud OCR service. This is RapidOCR (PP-OCR detection, direction and
recognition on onnxruntime). Its models are part of its wheel, so it runs offline. `score` is the
recogniser's confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Quad, TextRegion
from stages.base import Batch, Result, thread_count
from stages.ranges import Share

MIN_SIDE = 64  # pixels; the detector fails below 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RapidOcrConfig:
    """Settings of `rapidocr`."""

    min_score: Share = 0.1
    """Text regions with a lower score are not stored; the region filter is stricter."""

    box_threshold: Share = 0.5
    """Lowest score of a box of the text detector, 0 to 1."""

    unclip: float = 1.6
    """How far the detector's shrunk text cores are grown into quads; a lower factor is tighter."""

    side: int = 960
    """Images are enlarged until their longer side has this many pixels.

    They are at most made twice as large.
    """


def clockwise(corners: np.ndarray) -> Quad:
    """The corners in clockwise order, from the one nearest to the top left.

    `corners` is (4, 2) float, (x, y) in pixels with y down.
    """
    x, y = (corners - corners.mean(0)).T
    angles = np.arctan2(y, x)
    ordered = corners[np.argsort(angles, kind="stable")]
    first = int(ordered.sum(1).argmin())
    rolled = np.roll(ordered, -first, axis=0)
    return tuple(rolled.astype(float).ravel().tolist())


def enlarge(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The image at up to twice its size, until its longer side has `side` pixels, and the factor.

    `image` is (height, width, 3) uint8. A narrow image is padded at the right and below.
    """
    longer_side = max(image.shape[:2])
    scale = max(side / longer_side, 1.0)
    scale = min(scale, 2.0)
    if scale > 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    height, width = image.shape[:2]
    below = max(0, MIN_SIDE - height)
    right = max(0, MIN_SIDE - width)
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return padded, scale


def use_lookup(engine: Any) -> None:
    """Make RapidOCR's text detector normalise pixels by a table, with the same numbers.

    RapidOCR computes them in float64, which takes a sixth of the detector's time.
    """
    detector = engine.text_det or engine._load_det_model()
    make_step = detector.get_preprocess

    def make_fast_step() -> Any:
        step = make_step()
        levels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1)
        colours = np.repeat(levels, len(step.mean), axis=2)
        table = step.normalize(colours).astype(np.float32)
        step.normalize = lambda image: cv2.LUT(image, table)
        return step

    detector.get_preprocess = make_fast_step


class RapidOcr:
    """Reads the text of every image."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("text_regions",)

    def __init__(self, config: RapidOcrConfig) -> None:
        from rapidocr import RapidOCR
        from rapidocr.utils.output import RapidOCROutput

        self.side = config.side
        # The engine returns an object of another type if there is nothing to read.
        self.output_type = RapidOCROutput
        self.engine = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.text_score": config.min_score,
                "EngineConfig.onnxruntime.intra_op_num_threads": thread_count(),
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                # Memory is kept from image to image, or a fifth of the time goes to fetching it.
                "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
                "Det.box_thresh": config.box_threshold,
                "Det.unclip_ratio": config.unclip,
                "Det.limit_side_len": config.side,
                "Det.limit_type": "max",
            }
        )
        use_lookup(self.engine)

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(text_regions=self.read(sample.pixels)) for sample in batch]

    def read(self, image: np.ndarray) -> list[TextRegion]:
        """The text regions of a (height, width, 3) uint8 RGB image."""
        enlarged, scale = enlarge(image, self.side)
        bgr = np.ascontiguousarray(enlarged[..., ::-1])
        output = self.engine(bgr)
        if not isinstance(output, self.output_type) or output.boxes is None:
            return []
        if not output.txts or not output.scores:
            return []
        height, width = image.shape[:2]
        text_regions = []
        rows = zip(output.boxes, output.txts, output.scores, strict=True)
        for corners, text, score in rows:
            inside = np.clip(corners / scale, 0, [width, height])
            text_region = TextRegion(
                quad=clockwise(inside),
                text=text,
                score=float(score),
            )
            text_regions.append(text_region)
        return text_regions
