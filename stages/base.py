"""What a stage is: a class that loads its model once and maps a batch of samples to one result per sample.

`pipeline.execution.worker` does the rest: it decodes images, makes the batches, halves them when memory runs out, finds the
sample that breaks a batch, fills in where annotations came from, counts, and publishes. A stage never sees a file,
a shard or Ray.

A stage's config is a frozen, keyword-only dataclass beside it. Fields marked `CONTENT` name a file or folder (or a
hub name) whose content, not its path, enters the recipe; fields marked `NOT_RECIPE` do not change results.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from pipeline.schema import Annotation, Annotations

CONTENT: Mapping[str, Any] = {"content": True}
NOT_RECIPE: Mapping[str, Any] = {"recipe": False}


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and everything the stages before have said of it.

    `image` is (height, width, 3) uint8 RGB, read-only, or None for stages that do not ask for it. `annotations` holds
    dropped ones too: a stage looks at what is kept unless it is a filter.
    """

    key: str
    size: tuple[int, int]  # (width, height)
    round: int = 0
    annotations: Annotations = field(default_factory=Annotations)
    image: np.ndarray | None = None

    def fresh(self, annotation: Annotation) -> bool:
        """Kept, and made in this round: what specialists work on, so that later rounds complete only what changed."""
        return annotation.dropped is None and annotation.round == self.round

    @property
    def pixels(self) -> np.ndarray:
        assert self.image is not None, "the stage must set reads_images"
        return self.image


Batch = Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Failed:
    """This sample could not be done; `reason` is short and snake_case, `detail` one line for a person."""

    reason: str
    detail: str = ""


Result = Annotations | Failed


class Stage(Protocol):
    """See `stages/specialists/ocr.py` for a whole one.

    `version` is raised whenever the same input gives another output. `reads_images` says whether samples come decoded.
    The result holds only what the stage adds (no `id`) or revises (with the `id` it found; the last word wins).
    """

    version: ClassVar[int]
    reads_images: ClassVar[bool]

    def __init__(self, config: Any) -> None: ...

    def __call__(self, batch: Batch) -> list[Result]: ...


class SampleError(ValueError):
    """One sample is at fault: raised by a stage, it becomes that sample's `Failed` row."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class StageError(Exception):
    """An error that is no sample's fault: configuration, credentials, a model that cannot be loaded,
    missing input of the stage, full disk. It ends the run in one line."""


def fold_of(key: str, folds: int) -> int:
    """Which of `folds` equal parts a sample belongs to: a function of its key alone."""
    return zlib.crc32(f"fold {key}".encode()) % folds


OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "Failed to allocate memory",
    "Insufficient memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Python's error, CUDA's, or what the CPU allocators of torch, onnxruntime and OpenCV say."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in OUT_OF_MEMORY)


def thread_count() -> int:
    """Threads this process may use: the worker sets OMP_NUM_THREADS from the group's settings."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))
