"""Boxes with categories by a YOLOX ONNX file.

In: image. Out: regions (`phrase` is the category), best first.

Paper section 4.3, "Region-text pairs": a detector, then a threshold and NMS. What is stored is the
raw signal of YOLOX's released evaluation (best class of each row, scores from 0.01, NMS per class
at IoU 0.65). The region filter takes stricter decisions later.

The files that the YOLOX project publishes take a BGR image with values 0 to 255, resized into the
top left corner of a grey (114) canvas. They return rows of (x, y, width, height, objectness, class
scores), not yet decoded, for the strides 8, 16 and 32. A file with another layout is a
`StageError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Region
from stages.base import CONTENT, Batch, Result, StageError
from stages.filters.nms import nms
from stages.lines import lines_of
from stages.ranges import Share
from stages.specialists.onnx_file import load_session, session_errors

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

GREY = 114
STRIDES = (8, 16, 32)
FARTHEST_OFFSET = 32.0  # cells; a raw centre lies within few cells of its own
ROW_START = 5  # numbers of a row before its class scores


@dataclass(frozen=True, slots=True, kw_only=True)
class YoloxConfig:
    """Settings of `yolox`."""

    weights: str = field(metadata=CONTENT)
    """The ONNX file."""

    classes: str = field(default="", metadata=CONTENT)
    """File with one class name per line, in the order of the model's classes; empty: COCO's 80."""

    min_score: Share = 0.01
    """Boxes with a lower score are not stored."""

    nms_iou: Share = 0.65
    """A box is suppressed if it overlaps a better one of its class by more than this IoU."""

    max_regions: int = 300
    """Most regions of an image; the best are stored."""

    def class_names(self) -> list[str]:
        """The categories that regions can get."""
        return read_classes(self.classes)


@dataclass(frozen=True, slots=True)
class Detections:
    """The boxes of one image, before selection."""

    boxes: np.ndarray
    """(n, 4) float, xyxy in pixels of the model's input."""

    scores: np.ndarray
    """(n,) float, 0 to 1."""

    labels: np.ndarray
    """(n,) int, index of the class."""


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The model's input for an image, and the factor from image pixels to input pixels.

    `image` is (height, width, 3) uint8 RGB, `size` the (height, width) of the input. The input is
    (1, 3, height, width) float32 BGR, 0 to 255.
    """
    height, width = size
    image_height, image_width = image.shape[:2]
    scale = min(height / image_height, width / image_width)
    scaled_width = max(1, int(image_width * scale))
    scaled_height = max(1, int(image_height * scale))
    scaled_size = (scaled_width, scaled_height)
    scaled = cv2.resize(image, scaled_size, interpolation=cv2.INTER_LINEAR)
    canvas = np.full((height, width, 3), GREY, np.uint8)
    bgr = scaled[..., ::-1]
    canvas[:scaled_height, :scaled_width] = bgr
    pixels = canvas.transpose(2, 0, 1)[None]
    return np.ascontiguousarray(pixels, dtype=np.float32), scale


def grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The cell and the stride of every output row.

    Cells are (n, 2) int as (x, y), strides (n, 1) int in pixels. `size` is the (height, width) of
    the model's input.
    """
    height, width = size
    cells, strides = [], []
    for stride in STRIDES:
        rows = height // stride
        columns = width // stride
        y, x = np.mgrid[:rows, :columns]
        stride_cells = np.stack([x, y], -1).reshape(-1, 2)
        cells.append(stride_cells)
        strides.append(np.full((len(stride_cells), 1), stride))
    return np.concatenate(cells), np.concatenate(strides)


def decode(output: np.ndarray, size: tuple[int, int]) -> Detections:
    """The detections in the (rows, 5 + classes) float32 output for one image.

    `size` is the (height, width) of the input. As in YOLOX's `decode_outputs`: centres are offsets
    in units of cells, sides are logarithms.
    """
    cells, strides = grid(size)
    centre = (output[:, :2] + cells) * strides
    half = np.exp(output[:, 2:4]) * strides / 2
    boxes = np.concatenate([centre - half, centre + half], 1)
    objectness = output[:, 4]
    class_scores = output[:, ROW_START:]
    labels = class_scores.argmax(1)
    best_class = class_scores.max(1)
    return Detections(
        boxes=boxes,
        scores=objectness * best_class,
        labels=labels,
    )


def select(found: Detections, config: YoloxConfig) -> np.ndarray:
    """The (n,) int indices of the detections to store, best first."""
    certain = np.flatnonzero(found.scores >= config.min_score)
    is_kept = nms(
        found.boxes[certain],
        found.scores[certain],
        found.labels[certain],
        config.nms_iou,
    )
    kept = certain[is_kept]
    best_first = np.argsort(-found.scores[kept], kind="stable")
    selected = kept[best_first]
    return selected[: config.max_regions]


def read_classes(path: str) -> list[str]:
    """The class names of a file, one per line; those of COCO for an empty path.

    Raises StageError if the file cannot be read.
    """
    file = Path(path) if path else Path(__file__).with_name("coco_classes.txt")
    try:
        lines = lines_of(file.read_bytes().rstrip())
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"classes={path}: {error}") from error
    return [line.strip() for line in lines]


class Yolox:
    """A YOLOX detector on onnxruntime."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(self, config: YoloxConfig) -> None:
        """Loads the model and runs it once on a black image.

        Raises StageError if it is no YOLOX model with as many classes as there are class names.
        """
        self.config = config
        self.classes = read_classes(config.classes)
        self.session = load_session(config.weights)
        self.size = _input_size(self.session, config)
        self._check_output()

    @staticmethod
    def check(config: YoloxConfig) -> None:
        """See `stages.base.Stage`. An ONNX file loads within seconds."""
        Yolox(config)

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(regions=self.detect(sample.pixels)) for sample in batch]

    def detect(self, image: np.ndarray) -> list[Region]:
        """The regions of a (height, width, 3) uint8 RGB image, best first."""
        pixels, scale = letterbox(image, self.size)
        (output,) = self._run(pixels)
        found = decode(output[0], self.size)
        selected = select(found, self.config)
        height, width = image.shape[:2]
        limits = [width, height, width, height]
        boxes = found.boxes[selected] / scale
        clipped = np.clip(boxes, 0, limits).astype(float)
        regions = []
        for box, index in zip(clipped.tolist(), selected, strict=True):
            label = found.labels[index]
            region = Region(
                box=tuple(box),
                phrase=self.classes[label],
                score=float(found.scores[index]),
            )
            regions.append(region)
        return regions

    def _run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """All outputs of the model for an input of `letterbox`."""
        name = self.session.get_inputs()[0].name
        outputs: list[np.ndarray] = self.session.run(None, {name: pixels})
        return outputs

    def _check_output(self) -> None:
        """Runs the model once on a black image to see the shape of its output.

        A file need not declare that shape.
        """
        black = np.zeros((1, 1, 3), np.uint8)
        try:
            outputs = self._run(letterbox(black, self.size)[0])
        except session_errors() as error:
            raise _wrong_layout(self.config, str(error)) from error
        shapes = [output.shape for output in outputs]
        cells, _ = grid(self.size)
        row_count = len(cells)
        name_count = len(self.classes)
        expected = (1, row_count, ROW_START + name_count)
        if shapes == [expected]:
            self._check_offsets(outputs[0])
            return
        if len(shapes) == 1 and shapes[0][:2] == (1, row_count):
            class_count = shapes[0][2] - ROW_START
            raise StageError(
                f"weights={self.config.weights}: the model has {class_count} classes, "
                f"but there are {name_count} class names: set `classes` to a file with "
                "the model's class names, one per line"
            )
        what = f"its outputs have the shapes {shapes}, not [{expected}]"
        if shapes and len(shapes[0]) == 3 and shapes[0][1] < shapes[0][2]:
            what += "; a row for each number instead of for each box is YOLOv8's layout"
        raise _wrong_layout(self.config, what)

    def _check_offsets(self, output: np.ndarray) -> None:
        """Check that the boxes are not decoded yet: their centres are offsets in cells.

        `output` is (1, rows, 5 + classes), for a black image.
        """
        farthest = float(np.abs(output[..., :2]).max())
        if farthest > FARTHEST_OFFSET:
            raise _wrong_layout(self.config, f"its boxes are decoded: centres of {farthest:.0f}")


def _input_size(session: InferenceSession, config: YoloxConfig) -> tuple[int, int]:
    """The fixed (height, width) of the model's input."""
    shapes = [entry.shape for entry in session.get_inputs()]
    if len(shapes) == 1 and len(shapes[0]) == 4:
        _, channels, height, width = shapes[0]
        # A size that the file does not fix is a name or None.
        is_fixed = isinstance(height, int) and isinstance(width, int)
        if channels == 3 and is_fixed:
            return height, width
    reason = f"its inputs have the shapes {shapes}, not [[1, 3, height, width]]"
    raise _wrong_layout(config, reason)


def _wrong_layout(config: YoloxConfig, what: str) -> StageError:
    """The error for an ONNX file that is another kind of model."""
    return StageError(
        f"weights={config.weights}: no YOLOX model ({what}): give a file made by "
        "tools/export_onnx.py of the YOLOX project, without --dynamic and --decode_in_inference"
    )
