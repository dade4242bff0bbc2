"""The shapes of Florence-2 models: `nano` is ours, `base` and `large` are the published ones.

The published shapes are those of the Florence-2 paper (Table 15). `nano` runs on CPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RESOLUTIONS = {"nano": 64, "base": 768, "large": 768}
"""Side of the square image that each size is meant to see, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """Shape of the language model, an encoder and a decoder as in BART."""

    width: int
    """Numbers in the hidden state of a token."""

    encoder_layers: int
    """Number of encoder layers."""

    decoder_layers: int
    """Number of decoder layers."""

    heads: int
    """Attention heads in each layer."""

    feed_forward: int
    """Numbers in the inner layer of a feed-forward block."""

    max_positions: int
    """Most tokens that the encoder (image tokens included) and the decoder can take."""

    dropout: float
    """Probability that a number is set to 0 in training."""

    init_deviation: float
    """Standard deviation of fresh weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Shape of a model: its vision tower (DaViT) and its language model."""

    vision: Mapping[str, object]
    """Arguments of `Florence2VisionConfig` of `transformers` that differ from its defaults."""

    text: TextShape
    """Shape of the language model."""


_NANO = ModelShape(
    vision={
        "depths": [1, 1, 2],
        "patch_size": [7, 3, 3],
        "patch_stride": [4, 2, 1],
        "patch_padding": [3, 1, 1],
        "patch_prenorm": [False, True, True],
        "embed_dim": [32, 64, 128],
        "num_heads": [2, 4, 8],
        "num_groups": [2, 4, 8],
        "window_size": 8,
        "mlp_ratio": 2.0,
        "drop_path_rate": 0.0,
        "projection_dim": 128,
        "initializer_range": 0.06,
    },
    text=TextShape(
        width=128,
        encoder_layers=1,
        decoder_layers=2,
        heads=4,
        feed_forward=384,
        max_positions=512,
        dropout=0.0,
        init_deviation=0.09,
    ),
)
_BASE = ModelShape(
    vision={
        "embed_dim": [128, 256, 512, 1024],
        "num_heads": [4, 8, 16, 32],
        "num_groups": [4, 8, 16, 32],
        "projection_dim": 768,
    },
    text=TextShape(
        width=768,
        encoder_layers=6,
        decoder_layers=6,
        heads=12,
        feed_forward=3072,
        max_positions=1024,
        dropout=0.1,
        init_deviation=0.02,
    ),
)
_LARGE = ModelShape(
    vision={
        "embed_dim": [256, 512, 1024, 2048],
        "num_heads": [8, 16, 32, 64],
        "num_groups": [8, 16, 32, 64],
        "projection_dim": 1024,
    },
    text=TextShape(
        width=1024,
        encoder_layers=12,
        decoder_layers=12,
        heads=16,
        feed_forward=4096,
        max_positions=4096,
        dropout=0.1,
        init_deviation=0.02,
    ),
)

SHAPES: dict[str, ModelShape] = {"nano": _NANO, "base": _BASE, "large": _LARGE}
"""Shape of each size."""
