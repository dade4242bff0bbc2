"""What the adapters of published checkpoints share: where a model comes from, and how its inputs are batched.

Weights are read from a local folder or by hub name at a pinned revision, as safetensors, without remote code.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from pipeline.schema import Box
from stages.base import CONTENT

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedConfig:
    model: str = field(default="", metadata=CONTENT)  # a folder or a hub name
    revision: str = "main"  # a commit for a hub name
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    rows: int = 16  # images, crops or prompts that go through the model at once


def load(auto: Any, config: PretrainedConfig) -> Any:
    """A model, processor or tokenizer by its `transformers` auto class; a model comes placed and in eval
    mode.
    """
    if not config.model:
        raise ValueError("no model given: set `model` to a folder or a hub name")
    is_model = hasattr(auto, "from_config")
    weights = {"use_safetensors": True, "dtype": getattr(_torch(), config.dtype)} if is_model else {}
    try:
        loaded = auto.from_pretrained(config.model, revision=config.revision, **weights)
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"model {config.model!r} at revision {config.revision!r}: {reason}") from error
    return loaded.to(device(config)).eval() if is_model else loaded


def device(config: PretrainedConfig) -> torch.device:
    torch = _torch()
    cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def _torch() -> Any:
    import torch

    return torch


def pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def alike(items: Sequence[T], key: Callable[[T], Hashable], size: int) -> Iterator[list[int]]:
    """Indices in pieces of at most `size` whose items have equal keys: inputs of one shape need no
    padding, so that a result does not depend on its neighbours."""
    groups: dict[Hashable, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(key(item), []).append(index)
    return (list(piece) for group in groups.values() for piece in pieces(group, size))


def picture(image: np.ndarray) -> Any:
    """A PIL image: processors guess an array's layout, and guess wrong for one of 1 or 3 pixels a side."""
    from PIL import Image

    return Image.fromarray(image)


def crop(image: np.ndarray, box: Box, context: float) -> np.ndarray:
    """The box with a margin of `context` times its sides; at least one pixel."""
    dx, dy = context * (box[2] - box[0]), context * (box[3] - box[1])
    height, width = image.shape[:2]
    x1, y1 = min(max(0, int(box[0] - dx)), width - 1), min(max(0, int(box[1] - dy)), height - 1)
    x2, y2 = max(x1 + 1, min(width, int(np.ceil(box[2] + dx)))), max(y1 + 1, min(height, int(np.ceil(box[3] + dy))))
    return image[y1:y2, x1:x2]
