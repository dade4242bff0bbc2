"""Detailed texts from a language model behind an OpenAI-compatible endpoint. In: image or annotations. Out:
texts.

Paper section 4.3, "Text": detailed texts come from prompting large models with what is known of the image.
`reads: image` shows the image to a vision-language model; `reads: labels` gives a language model the brief
text, the regions and the words read, to aggregate. `endpoint` asks, keeps the answers and watches the budget. A
refusal or an answer that was cut off is stored as a dropped text with its reason.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from pipeline.schema import Annotations, Granularity, Text
from stages.base import Batch, Failed, Result, Sample
from stages.specialists.endpoint import Client, EndpointConfig
from stages.specialists.work import missing, sureness

REFUSED = "refused"
CUT_OFF = "cut_off"
EMPTY_ANSWER = "empty_answer"

REFUSALS = (
    "i'm sorry",
    "i am sorry",
    "i cannot",
    "i can't",
    "i can not",
    "i'm unable",
    "i am unable",
    "as an ai",
)
PROMPTS: dict[str, str] = {
    "detailed": "Describe the image in two to four plain sentences: its objects, their attributes and what they do.",
    "more_detailed": "Describe the image in one long paragraph: every object, its attributes, its place, what it does "
    "and how it relates to the others, and any text that can be read.",
}
LABELS = "You cannot see the image. This is known of it; use nothing else, and do not mention scores or boxes.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig(EndpointConfig):
    reads: Literal["image", "labels"] = "image"
    granularities: tuple[Granularity, ...] = ("detailed", "more_detailed")
    prompts: Mapping[str, str] = field(default_factory=lambda: dict(PROMPTS))
    min_score: float = 0.3  # regions and text regions below are not told


def check_prompts(granularities: Sequence[Granularity], prompts: Mapping[str, str]) -> None:
    if lacking := [g for g in granularities if g not in prompts]:
        raise ValueError(
            f"prompts has none for {', '.join(lacking)}: add them or leave the granularities out"
        )


def facts(sample: Sample, min_score: float) -> str:
    """What is known of the image, one line each."""
    kept, (width, height) = sample.annotations.kept(), sample.size
    lines = [f"Caption: {t.text}" for t in kept.texts if t.granularity == "brief"]
    for r in kept.regions:
        if sureness(r) >= min_score:
            x, y = (r.box[0] + r.box[2]) / 2 / width, (r.box[1] + r.box[3]) / 2 / height
            lines.append(
                f"Object: {r.brief or r.phrase}, centre at {x:.0%} from the left and {y:.0%} from the top"
            )
    lines += [f'Text: "{t.text}"' for t in kept.text_regions if sureness(t) >= min_score]
    return "\n".join(lines)


def picture_url(image: np.ndarray, side: int) -> str:
    scale = min(1.0, side / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    data = cv2.imencode(".png", np.ascontiguousarray(small[..., ::-1]))[1].tobytes()
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def judge(choice: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text of an answer and why it may not be used."""
    message = choice["message"]
    text = (message.get("content") or "").strip()
    if message.get("refusal") or text.lower().replace("\u2019", "'").startswith(REFUSALS):
        return text or message["refusal"], REFUSED
    if choice.get("finish_reason") == "content_filter":
        return text, REFUSED
    if choice.get("finish_reason") == "length":
        return text, CUT_OFF
    return text, None if text else EMPTY_ANSWER


class EndpointDescribe:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: DescribeConfig) -> None:
        check_prompts(config.granularities, config.prompts)
        self.config, self.client = config, Client(config)

    def __call__(self, batch: Batch) -> list[Result]:
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            return list(pool.map(self.describe, batch))

    def describe(self, sample: Sample) -> Result:
        wanted = missing(sample, self.config.granularities)
        subject = self.subject(sample) if wanted else []
        texts = []
        for granularity in wanted if subject else ():
            reply = self.client.ask(self.request(self.config.prompts[granularity], subject))
            if isinstance(reply, Failed):
                return reply
            text, reason = judge(reply["choices"][0])
            texts.append(Text(granularity=granularity, text=text, dropped=reason))
        return Annotations(texts=texts)

    def subject(self, sample: Sample) -> list[dict[str, Any]]:
        """What the model is given to describe; empty when nothing is known."""
        if self.config.reads == "image":
            url = picture_url(sample.pixels, self.config.image_side)
            return [{"type": "image_url", "image_url": {"url": url}}]
        known = facts(sample, self.config.min_score)
        return [{"type": "text", "text": LABELS + known}] if known else []

    def request(self, prompt: str, subject: list[dict[str, Any]]) -> dict[str, Any]:
        content = [{"type": "text", "text": prompt}, *subject]
        return {
            "model": self.config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.config.max_tokens,
            "temperature": 0,
            "seed": 0,
        }
