"""Which settings a Florence-2 checkpoint takes, read from its config.json.

The vision tower makes side x side features of a square image. Each row and each column has a
learned position, and so has each token of the encoder (features, one more, prompt) and of the
decoder. There are only so many; one more is an `IndexError` in every sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.checkpoints import TOKENIZER_FILES, check_weights, read_config
from stages.florence.config import TrainConfig
from stages.florence.model import check_format, located

# The defaults of `Florence2VisionConfig`, for a config.json that does not hold them.
_VISION: dict[str, Any] = {
    "patch_size": [7, 3, 3, 3],
    "patch_stride": [4, 2, 2, 2],
    "patch_padding": [3, 1, 1, 1],
    "max_position_embeddings": 50,
}
_TEXT_POSITIONS = 1024
_SHORTEST_PROMPT = 3  # tokens: one between the start and the end
_LARGEST = 4096  # pixels; no setting is larger


@dataclass(frozen=True, slots=True)
class Limits:
    """What a checkpoint takes."""

    name: str
    """The checkpoint as the user named it."""

    layers: tuple[tuple[int, int, int], ...]
    """(kernel, stride, padding) of the convolution before each stage of the vision tower."""

    rows: int
    """Learned positions of the rows of features, and as many of the columns."""

    positions: int
    """Learned positions of the encoder, and as many of the decoder."""

    def side(self, resolution: int) -> int:
        """The side of the square of features for an image of `resolution` pixels."""
        side = resolution
        for kernel, stride, padding in self.layers:
            side = (side + 2 * padding - kernel) // stride + 1
        return side

    def image_tokens(self, resolution: int) -> int:
        """How many tokens the encoder gets of an image of `resolution` pixels."""
        return self.side(resolution) ** 2 + 1

    def check_resolution(self, setting: str, resolution: int) -> None:
        """Check the side of the images that the model sees.

        Raises:
            ValueError: the model does not take it; the message says what it takes.
        """
        if self._takes(resolution):
            return
        largest = max(pixels for pixels in range(1, _LARGEST + 1) if self._takes(pixels))
        raise ValueError(
            f"{setting}={resolution}: {self.name} takes images of up to {largest} pixels; at "
            f"{resolution} there are {self.side(resolution)} rows of features and "
            f"{self.image_tokens(resolution)} image tokens, and it has positions for {self.rows} "
            f"and {self.positions}"
        )

    def check_prompt(self, setting: str, tokens: int, resolution: int) -> None:
        """Check the longest prompt beside an image of `resolution` pixels.

        Raises:
            ValueError: the encoder has too few positions.
        """
        room = self.positions - self.image_tokens(resolution)
        if tokens > room:
            raise ValueError(
                f"{setting}={tokens}: the encoder of {self.name} has {self.positions} positions, "
                f"of which an image of {resolution} pixels takes {self.image_tokens(resolution)}; "
                f"give at most {room}, or smaller images"
            )

    def _takes(self, resolution: int) -> bool:
        """Whether there are positions for an image of this side and the shortest prompt."""
        side = self.side(resolution)
        has_tokens = self.image_tokens(resolution) + _SHORTEST_PROMPT <= self.positions
        return 0 < side <= self.rows and has_tokens

    def check_answer(self, setting: str, tokens: int) -> None:
        """Check the longest answer.

        Raises:
            ValueError: the decoder has too few positions.
        """
        if tokens >= self.positions:
            raise ValueError(
                f"{setting}={tokens}: the decoder of {self.name} has {self.positions} positions; "
                f"give at most {self.positions - 1}"
            )


def limits_of(name: str) -> Limits | None:
    """The limits of a checkpoint; None for a hub model that is not here.

    Raises:
        ValueError: it is no Florence-2 in the native format.
        StageError: its files are not complete.
    """
    folder, _ = located(name, "main")
    if not Path(folder).is_dir():
        return None
    values = read_config(folder)
    if values.get("model_type") != "florence2":
        check_format(folder, "main")
    check_weights(folder)
    if not any((Path(folder) / file).is_file() for file in TOKENIZER_FILES):
        raise ValueError(f"{name}: no tokenizer: it has none of {', '.join(TOKENIZER_FILES)}")
    return limits_in(name, values)


def limits_in(name: str, values: dict[str, Any]) -> Limits:
    """The limits in the values of a config.json."""
    vision = {**_VISION, **values.get("vision_config", {})}
    layers = zip(vision["patch_size"], vision["patch_stride"], vision["patch_padding"], strict=True)
    text = values.get("text_config", {})
    return Limits(
        name=name,
        layers=tuple(layers),
        rows=vision["max_position_embeddings"],
        positions=text.get("max_position_embeddings", _TEXT_POSITIONS),
    )


def check_training(
    limits: Limits, stages: Iterable[tuple[int, int]], config: TrainConfig, where: str = ""
) -> None:
    """Check that a checkpoint can be trained with these settings.

    Args:
        limits: those of the checkpoint.
        stages: (resolution, steps) of each stage.
        config: the lengths of prompts and targets.
        where: the part of the settings that `stages` is in, such as `refine.sparse.`.

    Raises:
        ValueError: the model does not take a resolution or a length.
    """
    for resolution, _ in stages:
        limits.check_resolution(f"{where or 'train.'}stages", resolution)
        limits.check_prompt("train.max_prompt_tokens", config.max_prompt_tokens, resolution)
    limits.check_answer("train.max_target_tokens", config.max_target_tokens)
