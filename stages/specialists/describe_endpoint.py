"""Detailed texts from a model behind an OpenAI-compatible endpoint.

In: image or annotations. Out: texts.

Paper section 4.3, "Text": detailed texts come from prompting large models with what other
specialists found. `reads: image` shows the image to a vision-language model. `reads: labels` gives
a language model the brief text, the regions and the text regions, and asks it to combine them. A
refusal or an answer that was cut off is stored as a dropped text with its reason.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import cv2
import numpy as np

from pipeline.schema import Annotations, Granularity, Text
from stages.base import Batch, Failed, Result, Sample, no_effect
from stages.ranges import Share
from stages.specialists.detailed_texts import (
    PROMPTS,
    check_prompt_names,
    check_prompts,
    judge,
    prompts_without_effect,
)
from stages.specialists.endpoint import ChatClient, EndpointConfig
from stages.specialists.selection import effective_score, missing_granularities

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionContentPartParam

# This text is part of the requests, and so of the keys of stored answers.
LABELS_PREFACE = (
    "You cannot see the image. This is known of it; "
    "use nothing else, and do not mention scores or boxes.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig(EndpointConfig):
    """Settings of `endpoint_describe`."""

    reads: Literal["image", "labels"] = "image"
    """What the model gets: the image, or the annotations as text."""

    granularities: tuple[Granularity, ...] = ("detailed", "more_detailed")
    """The texts to ask for."""

    prompts: Mapping[str, str] = field(default_factory=lambda: dict(PROMPTS))
    """The prompt of each granularity."""

    min_score: Share = 0.3
    """With `reads: labels`, regions and text regions with a lower score are left out."""

    @property
    def composes(self) -> tuple[str, ...]:
        """See `stages.base.Stage`."""
        return ("regions", "text_regions") if self.reads == "labels" else ()

    def __post_init__(self) -> None:
        check_prompt_names(self.prompts)

    def without_effect(self) -> Iterator[str]:
        yield from EndpointConfig.without_effect(self)
        yield from prompts_without_effect(self.granularities, self.prompts)
        if self.reads == "image":
            reason = "the model reads the image; set reads=labels"
            yield from no_effect(self, ("min_score",), reason)
        else:
            reason = "the model reads the labels; set reads=image"
            yield from no_effect(self, ("image_side",), reason)


def described_labels(sample: Sample, min_score: float) -> Annotations:
    """The kept brief texts, and the kept regions and text regions with at least this score."""
    kept = sample.annotations.kept()
    return Annotations(
        texts=[text for text in kept.texts if text.granularity == "brief"],
        regions=[region for region in kept.regions if effective_score(region) >= min_score],
        text_regions=[item for item in kept.text_regions if effective_score(item) >= min_score],
    )


def labels_as_text(sample: Sample, min_score: float) -> str:
    """The labels that are described, one line each; '' if there are none."""
    kept = described_labels(sample, min_score)
    width, height = sample.size
    lines = []
    for text in kept.texts:
        lines.append(f"Caption: {text.text}")
    for region in kept.regions:
        left, top, right, bottom = region.box
        x = (left + right) / 2 / width
        y = (top + bottom) / 2 / height
        name = region.brief or region.phrase
        place = f"centre at {x:.0%} from the left and {y:.0%} from the top"
        lines.append(f"Object: {name}, {place}")
    for text_region in kept.text_regions:
        lines.append(f'Text: "{text_region.text}"')
    return "\n".join(lines)


def image_url(image: np.ndarray, max_side: int) -> str:
    """A data URL with a PNG of an image.

    `image` is (height, width, 3) uint8 RGB. A longer side than `max_side` pixels is shrunk to it.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    if scale < 1:
        small_width = max(1, round(width * scale))
        small_height = max(1, round(height * scale))
        size = (small_width, small_height)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(image[..., ::-1])
    _, png = cv2.imencode(".png", bgr)
    encoded = base64.b64encode(png.tobytes())
    return "data:image/png;base64," + encoded.decode("ascii")


class EndpointDescribe:
    """Asks for the detailed texts that a sample lacks, several samples at a time."""

    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: DescribeConfig) -> None:
        check_prompts(config.granularities, config.prompts)
        self.config = config
        self.client = ChatClient(config)

    def __call__(self, batch: Batch) -> list[Result]:
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            return list(pool.map(self.describe, batch))

    def describe(self, sample: Sample) -> Result:
        """The missing texts of one sample; none if there is nothing to describe."""
        granularities = missing_granularities(sample, self.config.granularities)
        if not granularities:
            return Annotations()
        subject = self.subject(sample)
        if subject is None:
            return Annotations()
        texts = []
        for granularity in granularities:
            prompt = self.config.prompts[granularity]
            answer = self.client.ask([{"type": "text", "text": prompt}, subject])
            if isinstance(answer, Failed):
                return answer
            text, reason = judge(answer)
            described = Text(
                granularity=granularity,
                text=text,
                dropped=reason,
                parents=self._parents(sample),
            )
            texts.append(described)
        return Annotations(texts=texts)

    def _parents(self, sample: Sample) -> list[str]:
        """The ids of what the model describes, if it gets labels."""
        if self.config.reads == "image":
            return []
        labels = described_labels(sample, self.config.min_score)
        return [annotation.id for annotation in (*labels.regions, *labels.text_regions)]

    def subject(self, sample: Sample) -> ChatCompletionContentPartParam | None:
        """The image or the labels that the model gets; None if there are no labels."""
        if self.config.reads == "image":
            url = image_url(sample.pixels, self.config.image_side)
            return {"type": "image_url", "image_url": {"url": url}}
        labels = labels_as_text(sample, self.config.min_score)
        if not labels:
            return None
        return {"type": "text", "text": LABELS_PREFACE + labels}
