"""Detailed texts from a language model behind an OpenAI-compatible endpoint. In: image or annotations. Out:
texts.

Paper section 4.3, "Text": detailed texts come from prompting large models with what is known of the image.
`reads: image` shows the image to a vision-language model; `reads: labels` gives a language model the brief
text, the regions and the words read, to aggregate. Answers are kept on disk by the hash of their request, so
that a killed run asks nothing twice; the tokens they took count towards the budget also after a restart. A
refusal or an answer that was cut off is stored as a dropped text with its reason.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from pipeline.schema import Annotations, Granularity, Text
from stages.base import NOT_RECIPE, Batch, Failed, Result, Sample
from stages.specialists.work import missing, sureness

REFUSED = "refused"
CUT_OFF = "cut_off"
EMPTY_ANSWER = "empty_answer"
BUDGET_SPENT = "budget_spent"
ENDPOINT_FAILED = "endpoint_failed"

REFUSALS = ("i'm sorry", "i am sorry", "i cannot", "i can't", "i can not", "i'm unable", "i am unable", "as an ai")
PROMPTS: dict[str, str] = {
    "detailed": "Describe the image in two to four plain sentences: its objects, their attributes and what they do.",
    "more_detailed": "Describe the image in one long paragraph: every object, its attributes, its place, what it does "
    "and how it relates to the others, and any text that can be read.",
}
LABELS = "You cannot see the image. This is known of it; use nothing else, and do not mention scores or boxes.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig:
    endpoint: str  # such as http://127.0.0.1:8000/v1
    model: str
    reads: Literal["image", "labels"] = "image"
    granularities: tuple[Granularity, ...] = ("detailed", "more_detailed")
    prompts: Mapping[str, str] = field(default_factory=lambda: dict(PROMPTS))
    max_tokens: int = 400
    image_side: int = 768  # larger images are shrunk
    min_score: float = 0.3  # regions and text regions below are not told
    key_variable: str = field(default="OPENAI_API_KEY", metadata=NOT_RECIPE)  # environment variable, may be unset
    cache: str = field(default="", metadata=NOT_RECIPE)  # folder of the answers; empty: none are kept
    token_budget: int = field(default=0, metadata=NOT_RECIPE)  # of prompts and answers; 0: none
    concurrency: int = field(default=8, metadata=NOT_RECIPE)
    attempts: int = field(default=5, metadata=NOT_RECIPE)
    timeout: float = field(default=120.0, metadata=NOT_RECIPE)  # seconds
    backoff: float = field(default=1.0, metadata=NOT_RECIPE)  # seconds before the second attempt; then doubled


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    reason: str | None  # why it may not be used


def check_prompts(granularities: Sequence[Granularity], prompts: Mapping[str, str]) -> None:
    if lacking := [g for g in granularities if g not in prompts]:
        raise ValueError(f"prompts has none for {', '.join(lacking)}: add them or leave the granularities out")


def facts(sample: Sample, min_score: float) -> str:
    """What is known of the image, one line each."""
    kept, (width, height) = sample.annotations.kept(), sample.size
    lines = [f"Caption: {t.text}" for t in kept.texts if t.granularity == "brief"]
    for r in kept.regions:
        if sureness(r) >= min_score:
            x, y = (r.box[0] + r.box[2]) / 2 / width, (r.box[1] + r.box[3]) / 2 / height
            lines.append(f"Object: {r.brief or r.phrase}, centre at {x:.0%} from the left and {y:.0%} from the top")
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


def tokens_of(reply: Mapping[str, Any]) -> int:
    return reply.get("usage", {}).get("total_tokens", 0)


class Client:
    """Asks the endpoint, at most once per request, with retries and a budget."""

    def __init__(self, config: DescribeConfig) -> None:
        self.config = config
        self.folder = Path(config.cache) if config.cache else None
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
        known = self.folder.glob("*.json") if self.folder else ()
        self.spent = sum(tokens_of(json.loads(file.read_text())) for file in known)
        self.lock = Lock()

    def ask(self, request: Mapping[str, Any]) -> Answer | Failed:
        body = json.dumps(request, sort_keys=True).encode()
        file = self.folder / f"{hashlib.sha256(body).hexdigest()}.json" if self.folder else None
        if file and file.is_file():
            return self._answer(json.loads(file.read_text()))
        if self.config.token_budget and self.spent >= self.config.token_budget:
            return Failed(BUDGET_SPENT, f"{self.spent} of {self.config.token_budget} tokens are spent")
        reply = self._post(body)
        if isinstance(reply, Failed):
            return reply
        with self.lock:
            self.spent += tokens_of(reply)
        if file:
            part = file.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
            part.write_text(json.dumps(reply))
            part.replace(file)
        return self._answer(reply)

    def _answer(self, reply: Mapping[str, Any]) -> Answer:
        return Answer(*judge(reply["choices"][0]))

    def _post(self, body: bytes) -> dict[str, Any] | Failed:
        """The reply, trying again after what may pass: no connection, too many requests, a server's fault."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.config.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        url, detail = self.config.endpoint.rstrip("/") + "/chat/completions", ""
        for attempt in range(self.config.attempts):
            if attempt:
                time.sleep(self.config.backoff * 2 ** (attempt - 1))
            try:
                request = urllib.request.Request(url, body, headers)
                with urllib.request.urlopen(request, timeout=self.config.timeout) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                detail = f"{error.code} {error.reason}"
                if error.code in (401, 403, 404):
                    advice = f"check endpoint, model and {self.config.key_variable}"
                    raise ValueError(f"{url} answers {detail}: {advice}") from error
                if error.code not in (408, 409, 429) and error.code < 500:
                    break
            except (urllib.error.URLError, TimeoutError, ConnectionError, json.JSONDecodeError) as error:
                detail = str(error)
        return Failed(ENDPOINT_FAILED, detail)


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
            answer = self.client.ask(self.request(self.config.prompts[granularity], subject))
            if isinstance(answer, Failed):
                return answer
            texts.append(Text(granularity=granularity, text=answer.text, dropped=answer.reason))
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
            "model": self.config.model, "messages": [{"role": "user", "content": content}],
            "max_tokens": self.config.max_tokens, "temperature": 0, "seed": 0,
        }  # fmt: skip
