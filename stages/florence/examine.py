"""Asks a model everything that training would teach it about labelled samples.

In: samples whose labels are right. Out: for each sample, one entry per example of `tasks`. An entry
holds target and answer as text, and what both say: places with labels and scores, outlines, or
nothing more than the text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.schema import Annotations, Granularity
from stages.base import CONTENT, Batch, Sample, thread_count
from stages.florence import codec
from stages.florence.detokenise import AnswerText, detokenise
from stages.florence.entries import AnswerEntry, OutlineEntry, PlaceEntry, Places
from stages.florence.generation import Question
from stages.florence.inference import FlorenceInference
from stages.florence.model import load, move_to_device
from stages.florence.tasks import LOCATIONS_PER_PLACE, AnswerKind, Example, find_task


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamineConfig:
    """What a model is asked, and how it decodes."""

    model: str = field(metadata=CONTENT)
    """Checkpoint: a folder, a hub name, or `nano`."""

    tasks: tuple[str, ...]
    """Tokens of the tasks that are asked."""

    texts: tuple[Granularity, ...] = ("brief",)
    """Granularities of the texts that are asked for, and whose phrases are asked about."""

    resolution: int = 768
    """Side of the square image that the model sees, in pixels."""

    max_tokens: int = 256
    """Most tokens of a prompt, and of an answer."""

    rows: int = 128
    """Questions that are decoded at the same time."""

    beams: int = 1
    """Beams of each question; 1 decodes greedily."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; `auto` is the GPU if there is one."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the weights."""


class Examine:
    """Asks the questions."""

    version = 1

    def __init__(self, config: ExamineConfig) -> None:
        import torch

        torch.set_num_threads(thread_count())
        florence = load(config.model)
        move_to_device(florence, config.device, config.dtype)
        self.config = config
        self.inference = FlorenceInference(
            florence,
            config.resolution,
            rows=config.rows,
            beams=config.beams,
            max_prompt_tokens=config.max_tokens,
        )

    def __call__(self, batch: Batch) -> list[list[AnswerEntry]]:
        """Return the entries of each sample, in the order of its examples."""
        questions: list[Question] = []
        examples: list[Example] = []
        for i, sample in enumerate(batch):
            for example in self._examples(sample):
                kind = find_task(example.task).answer_kind
                questions.append(Question(i, example.prompt, kind, self.config.max_tokens))
                examples.append(example)
        features = self.inference.encode_images([sample.pixels for sample in batch])
        answers = self.inference.answer(features, questions)
        entries: list[list[AnswerEntry]] = [[] for _ in batch]
        for question, example, tokens in zip(questions, examples, answers, strict=True):
            answer = detokenise(self.inference.florence, tokens)
            entries[question.image].append(make_entry(example, answer, batch[question.image]))
        return entries

    def _examples(self, sample: Sample) -> list[Example]:
        """The examples of a sample. Two texts may hold the same phrase, but it is asked once."""
        annotations = only_texts(sample.annotations, self.config.texts)
        examples: dict[tuple[str, str], Example] = {}
        for token in self.config.tasks:
            for example in find_task(token).examples(annotations, sample.size):
                examples[example.task, example.prompt] = example
        return list(examples.values())


def only_texts(annotations: Annotations, granularities: tuple[Granularity, ...]) -> Annotations:
    """Leave out the texts of other granularities, dropped texts, and the triplets of both."""
    texts = [t for t in annotations.kept().texts if t.granularity in granularities]
    text_ids = {text.id for text in texts}
    triplets = [t for t in annotations.triplets if t.text_id in text_ids]
    return replace(annotations, texts=texts, triplets=triplets)


def make_entry(example: Example, answer: AnswerText, sample: Sample) -> AnswerEntry:
    """Return an example and the model's answer to it, as plain JSON values."""
    kind = find_task(example.task).answer_kind
    return {
        "key": sample.key,
        "size": list(sample.size),
        "task": example.task,
        "prompt": example.prompt,
        "target": example.target,
        "answer": answer.text,
        "expected": read_places(kind, example.target, sample.size),
        "found": read_places(kind, answer.text, sample.size, answer),
    }


def read_places(
    kind: AnswerKind,
    text: str,
    size: codec.Size,
    answer: AnswerText | None = None,
) -> Places:
    """Read the places of a target or an answer as plain JSON values.

    Args:
        kind: how the text is parsed.
        text: a target or an answer.
        size: width and height of the image, in pixels.
        answer: the same text with the beliefs of the model; None for a target.

    Returns:
        Boxes and quads with label, points and score; outlines with their polygons only; nothing for
        a text. Coordinates are absolute pixels. The score is the exponential of the mean belief in
        the tokens of a place, and 1 for a target.
    """
    if kind == "text":
        return []
    if kind == "polygons":
        instances: list[OutlineEntry] = []
        for instance in codec.outlines(text, size):
            instances.append({"polygons": [list(polygon) for polygon in instance.polygons]})
        return instances
    found: list[PlaceEntry] = []
    for place in codec.places(text, size, LOCATIONS_PER_PLACE[kind]):
        score = 1.0
        if answer is not None:
            score = math.exp(answer.mean_belief(place.spans))
        found.append({"label": place.label, "points": list(place.points), "score": score})
    return found
