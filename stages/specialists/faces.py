"""Faces.

In: image. Out: a region with the phrase `face` for each face. It is no label but a note for review
and for `fld release build ... blur.face=SCORE` (`pipeline.schema.FINDING`), so it is dropped from
the start.

The model is YuNet (Wu, Peng and Yu 2023): an .onnx file of OpenCV's model zoo (MIT licence), which
is not in this package. OpenCV 5 has no cascades of Haar features any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from pipeline.schema import FINDING, Annotations, Box, Region
from stages.base import CONTENT, Batch, Result, StageError
from stages.geometry import clipped_box
from stages.ranges import Share

if TYPE_CHECKING:
    import cv2

FACE = "face"
NMS_IOU = 0.3  # OpenCV's default for YuNet
MOST_FACES = 5000  # before non-maximum suppression, OpenCV's default


@dataclass(frozen=True, slots=True, kw_only=True)
class FacesConfig:
    """Settings of `faces`."""

    weights: str = field(metadata=CONTENT)
    """The model: an .onnx file of YuNet, such as face_detection_yunet_2023mar.onnx."""

    min_score: Share = 0.5
    """Faces with a lower score are not stored."""

    side: Annotated[int, Field(ge=32)] = 1280
    """Images are reduced until their longer side has at most this many pixels. YuNet finds faces
    of 10 to 300 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One face in pixels of the image that the model saw."""

    x: float
    y: float
    width: float
    height: float
    score: float


class Faces:
    """Finds the faces of every image."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def check(cls, config: FacesConfig) -> None:
        """Check that the file is such a model.

        Raises:
            StageError: it is none.
        """
        cls(config)

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self.detector = _load(config)

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(regions=self.find(sample.pixels)) for sample in batch]

    def find(self, image: np.ndarray) -> list[Region]:
        """The faces of a (height, width, 3) uint8 RGB image, from the top left."""
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, self.config.side / max(height, width))
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        regions = []
        for found in _detect(self.detector, bgr):
            box = _box(found, scale, (width, height))
            region = Region(
                box=box,
                phrase=FACE,
                score=found.score,
                dropped=FINDING,
            )
            regions.append(region)
        return sorted(regions, key=lambda region: (region.box[1], region.box[0]))


def _detect(detector: cv2.FaceDetectorYN, bgr: np.ndarray) -> list[Found]:
    """The faces of a (height, width, 3) uint8 BGR image."""
    height, width = bgr.shape[:2]
    detector.setInputSize((width, height))
    _, rows = detector.detect(bgr)
    faces = []
    # A row: x, y, width, height, five points of the face, score.
    for row in rows if rows is not None else ():
        numbers = [float(value) for value in row]
        faces.append(
            Found(
                x=numbers[0],
                y=numbers[1],
                width=numbers[2],
                height=numbers[3],
                score=numbers[-1],
            )
        )
    return faces


def _box(found: Found, scale: float, size: tuple[int, int]) -> Box:
    """A face in pixels of the image of (width, height); parts outside of it are cut off."""
    left = found.x / scale
    top = found.y / scale
    right = (found.x + found.width) / scale
    bottom = (found.y + found.height) / scale
    return clipped_box((left, top, right, bottom), size)


def _load(config: FacesConfig) -> cv2.FaceDetectorYN:
    import cv2

    if not Path(config.weights).is_file():
        raise _no_model(config, "no such file")
    try:
        detector = cv2.FaceDetectorYN.create(
            config.weights,
            "",
            (64, 64),
            config.min_score,
            NMS_IOU,
            MOST_FACES,
        )
        # Another ONNX model loads, too, and fails when it runs.
        detector.detect(np.zeros((64, 64, 3), np.uint8))
    except cv2.error as error:
        raise _no_model(config, "no YuNet model") from error
    return detector


def _no_model(config: FacesConfig, problem: str) -> StageError:
    return StageError(
        f"weights={config.weights}: {problem}; give face_detection_yunet_2023mar.onnx of OpenCV's "
        "model zoo"
    )
