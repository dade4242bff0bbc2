"""What the adapters of published checkpoints share: where a model comes from, and how its inputs are batched.

Weights are read from a local folder or by hub name at a pinned revision, as safetensors, without remote code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from pipeline.schema import Box
from stages.base import CONTENT, is_out_of_memory

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
R = TypeVar("R")
LEAST_SIDE = 8  # pixels: processors mistake a side of 1 or 3 for the channels
GREATEST_ASPECT = (
    16  # a processor that fixes the shorter side would make gigabytes of a wider image
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedConfig:
    model: str = field(default="", metadata=CONTENT)  # a folder or a hub name
    revision: str = ""  # of a hub name: the commit, 40 hexadecimal digits
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    rows: int = 16  # images, crops or prompts that go through the model at once


def load(auto: Any, config: PretrainedConfig) -> Any:
    """A model, processor or tokenizer by its `transformers` auto class; a model comes placed and in eval
    mode.
    """
    if not config.model:
        raise ValueError("no model given: set `model` to a folder or a hub name")
    if not Path(config.model).is_dir() and not re.fullmatch("[0-9a-f]{40}", config.revision):
        raise ValueError(
            f"model {config.model!r} at revision {config.revision!r}: no such folder, and a hub name needs a commit: "
            "set `revision` to its 40 hexadecimal digits (a branch moves, and the labels with it)"
        )
    is_model = hasattr(auto, "from_config")
    weights = (
        {"use_safetensors": True, "dtype": getattr(_torch(), config.dtype)} if is_model else {}
    )
    try:
        loaded = auto.from_pretrained(config.model, revision=config.revision or None, **weights)
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"model {config.model!r} at revision {config.revision!r}: {reason}"
        ) from error
    return loaded.to(device(config)).eval() if is_model else loaded


def device(config: PretrainedConfig) -> torch.device:
    torch = _torch()
    cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def _torch() -> Any:
    import torch

    return torch


def mapped(
    items: Sequence[T],
    run: Callable[[list[T]], Sequence[R]],
    size: int,
    key: Callable[[T], Hashable] | None = None,
) -> list[R]:
    """What `run` says of each item, in order. It is given at most `size` items whose keys are equal: inputs of one
    shape need no padding, so that a result does not depend on its neighbours."""
    groups: dict[Hashable, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(key(item) if key else None, []).append(index)
    found: dict[int, R] = {}
    for group in groups.values():
        for start in range(0, len(group), size):
            piece = group[start : start + size]
            found |= zip(piece, halving([items[i] for i in piece], run), strict=True)
    return [found[i] for i in range(len(items))]


def halving(piece: list[T], run: Callable[[list[T]], Sequence[R]]) -> list[R]:
    """`run(piece)`; when memory runs out, of its halves, down to single items."""
    try:
        return list(run(piece))
    except (MemoryError, RuntimeError) as error:
        if len(piece) == 1 or not is_out_of_memory(error):
            raise
    if _torch().cuda.is_available():
        _torch().cuda.empty_cache()
    middle = len(piece) // 2
    return halving(piece[:middle], run) + halving(piece[middle:], run)


def padded(image: np.ndarray) -> np.ndarray:
    """The image, its last row and column repeated to the right and below until processors can take it."""
    height, width = image.shape[:2]
    least = max(LEAST_SIDE, -(-max(height, width) // GREATEST_ASPECT))
    missing = max(0, least - height), max(0, least - width)
    return (
        np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge") if any(missing) else image
    )


def picture(image: np.ndarray) -> Any:
    """A PIL image: processors guess an array's layout. Its size is that of `padded`."""
    from PIL import Image

    return Image.fromarray(padded(image))


def crop(image: np.ndarray, box: Box, context: float) -> np.ndarray:
    """The box with a margin of `context` times its sides; at least one pixel."""
    dx, dy = context * (box[2] - box[0]), context * (box[3] - box[1])
    height, width = image.shape[:2]
    x1, y1 = min(max(0, int(box[0] - dx)), width - 1), min(max(0, int(box[1] - dy)), height - 1)
    x2, y2 = (
        max(x1 + 1, min(width, int(np.ceil(box[2] + dx)))),
        max(y1 + 1, min(height, int(np.ceil(box[3] + dy)))),
    )
    return image[y1:y2, x1:x2]
