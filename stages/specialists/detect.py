"""Boxes with categories by a YOLOX ONNX file. In: image. Out: regions (`phrase` is the category), best first.

Paper section 4.3, "Region-text pairs": a detector, then threshold and NMS. What is stored is the raw signal
of the released evaluation (classes by argmax, scores from 0.01, class-wise NMS at 0.65); stricter choices are
the region filter's. Input of the files that the YOLOX project publishes: BGR, 0-255, resized into the top
left corner of a square of grey 114; output: rows of (x, y, w, h, objectness, class scores), raw, for strides
8, 16 and 32.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Region
from stages.base import CONTENT, Batch, Result, thread_count
from stages.filters.nms import nms

GREY = 114
STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class YoloxConfig:
    weights: str = field(metadata=CONTENT)  # an ONNX file
    classes: str = field(
        default="", metadata=CONTENT
    )  # a file of class names, one a line; empty: COCO's 80
    min_score: float = 0.01
    nms_iou: float = 0.65
    max_regions: int = 300


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The (1, 3, height, width) input and the factor from image to input pixels."""
    height, width = size
    scale = min(height / image.shape[0], width / image.shape[1])
    inner = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    canvas = np.full((height, width, 3), GREY, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)[
        ..., ::-1
    ]
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32), scale


def grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The (x, y) cell and the stride of every output row."""
    cells, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(cells), np.concatenate(strides)


def decode(output: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (xyxy in input pixels), scores and classes of the rows of one image."""
    cells, strides = grid(size)
    centre = (output[:, :2] + cells) * strides
    half = np.exp(output[:, 2:4]) * strides / 2
    label = output[:, 5:].argmax(1)
    score = output[:, 4] * output[np.arange(len(output)), 5 + label]
    return np.concatenate([centre - half, centre + half], 1), score, label


def select(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, config: YoloxConfig
) -> np.ndarray:
    """Indices of the boxes that stay, best first."""
    sure = np.flatnonzero(scores >= config.min_score)
    sure = sure[nms(boxes[sure], scores[sure], labels[sure], config.nms_iou)]
    return sure[np.argsort(-scores[sure], kind="stable")][: config.max_regions]


def read_classes(path: str) -> list[str]:
    file = Path(path) if path else Path(__file__).with_name("coco_classes.txt")
    return file.read_text().splitlines()


class Yolox:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: YoloxConfig) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.inter_op_num_threads = 1
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [p for p in wanted if p in onnxruntime.get_available_providers()]
        self.config = config
        self.session = onnxruntime.InferenceSession(config.weights, options, providers)
        self.input = self.session.get_inputs()[0]
        self.size = (int(self.input.shape[2]), int(self.input.shape[3]))
        self.classes = read_classes(config.classes)

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(regions=self.detect(sample.pixels)) for sample in batch]

    def detect(self, image: np.ndarray) -> list[Region]:
        pixels, scale = letterbox(image, self.size)
        (output,) = self.session.run(None, {self.input.name: pixels})
        boxes, scores, labels = decode(output[0], self.size)
        limit = [image.shape[1], image.shape[0]] * 2
        chosen = select(boxes, scores, labels, self.config)
        boxes = np.clip(boxes[chosen] / scale, 0, limit).astype(float)
        return [
            Region(box=tuple(box), phrase=self.classes[label], score=float(score))
            for box, label, score in zip(
                boxes.tolist(), labels[chosen], scores[chosen], strict=True
            )
        ]
