"""Asks a model everything that training would teach it about labelled samples; the answers stand beside the truth.

In: samples with labels that are right. Out: for each, an entry per example of `tasks`, with target and answer as text
and as what they say: places with labels and scores, outlines, or nothing more than the text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.schema import Annotations, Granularity
from stages.base import CONTENT, Batch, Sample, thread_count
from stages.florence import codec
from stages.florence.inference import Engine, Question, Reading, read
from stages.florence.model import load, place
from stages.florence.tasks import Answer, Pair, task

_NUMBERS = {
    "boxes": 4,
    "boxes_or_polygons": 4,
    "phrases": 4,
    "proposals": 4,
    "region_text": 4,
    "quads": 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamineConfig:
    """`texts` are the texts that are asked for and about; `beams` of 1 answers greedily."""

    model: str = field(metadata=CONTENT)
    tasks: tuple[str, ...]
    texts: tuple[Granularity, ...] = ("brief",)
    resolution: int = 768
    max_tokens: int = 256
    rows: int = 128
    beams: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"


class Examine:
    version = 1

    def __init__(self, config: ExamineConfig) -> None:
        import torch

        torch.set_num_threads(thread_count())
        florence = load(config.model)
        place(florence, config.device, config.dtype)
        self.config = config
        self.engine = Engine(
            florence,
            config.resolution,
            rows=config.rows,
            beams=config.beams,
            max_prompt_tokens=config.max_tokens,
        )

    def __call__(self, batch: Batch) -> list[list[dict[str, Any]]]:
        asked = [(i, pair) for i, sample in enumerate(batch) for pair in self._pairs(sample)]
        questions = [
            Question(i, pair.prompt, task(pair.task).answer, self.config.max_tokens)
            for i, pair in asked
        ]
        features = self.engine.look([sample.pixels for sample in batch])
        entries: list[list[dict[str, Any]]] = [[] for _ in batch]
        for (i, pair), tokens in zip(asked, self.engine.ask(features, questions), strict=True):
            entries[i].append(entry(pair, read(self.engine.florence, tokens), batch[i]))
        return entries

    def _pairs(self, sample: Sample) -> list[Pair]:
        """Each question once, though two texts may hold the same phrase."""
        shown = about(sample.annotations, self.config.texts)
        pairs = (
            pair for token in self.config.tasks for pair in task(token).pairs(shown, sample.size)
        )
        return list({(pair.task, pair.prompt): pair for pair in pairs}.values())


def about(annotations: Annotations, texts: tuple[Granularity, ...]) -> Annotations:
    """The annotations without other texts and their phrases."""
    told = [t for t in annotations.kept().texts if t.granularity in texts]
    known = {t.id for t in told}
    return replace(
        annotations, texts=told, triplets=[t for t in annotations.triplets if t.text_id in known]
    )


def entry(pair: Pair, reading: Reading, sample: Sample) -> dict[str, Any]:
    kind, size = task(pair.task).answer, sample.size
    return {
        "key": sample.key,
        "size": list(size),
        "task": pair.task,
        "prompt": pair.prompt,
        "target": pair.target,
        "answer": reading.text,
        "expected": said(kind, pair.target, size),
        "found": said(kind, reading.text, size, reading),
    }


def said(
    kind: Answer, text: str, size: codec.Size, reading: Reading | None = None
) -> list[dict[str, Any]]:
    """The places that a text tells, with how surely `reading` says each."""
    if kind == "text":
        return []
    if kind == "polygons":
        return [
            {"polygons": [list(p) for p in outlined.polygons]}
            for outlined in codec.outlines(text, size)
        ]
    return [
        {
            "label": place.label,
            "points": list(place.points),
            "score": math.exp(reading.mean(place.spans)) if reading else 1.0,
        }
        for place in codec.places(text, size, _NUMBERS[kind])
    ]
