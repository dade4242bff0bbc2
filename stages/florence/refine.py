"""A trained Florence-2 annotates anew and judges the labels it is shown.

In: the image and the kept annotations of the round before. Out: (a) the model's own annotations: texts, regions
(category from object detection, brief text from the dense captions), words with quads, and the phrases of the shown
brief texts with their boxes; `score` is the exponential of the mean log-probability of an annotation's tokens.
(b) the shown texts, regions and triplets again, with `support`: the mean log-probability per token of the label when
the model is asked its question (a region: its category, given its box). Paper section 4.2, "iterative data
refinement"; spec 1.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

from pipeline.schema import Annotations, Box, Candidate, Granularity, Region, Text, TextRegion, Triplet
from stages.base import CONTENT, Batch, Result, Sample, thread_count
from stages.florence import codec
from stages.florence.inference import Engine, Question, Reading, read
from stages.florence.tasks import Pair, find_phrases, task

DETECTION, DENSE, GROUNDING = "<OD>", "<DENSE_REGION_CAPTION>", "<CAPTION_TO_PHRASE_GROUNDING>"
WORDS, CATEGORY = "<OCR_WITH_REGION>", "<REGION_TO_CATEGORY>"
TEXTS: dict[str, Granularity] = {
    "<CAPTION>": "brief", "<DETAILED_CAPTION>": "detailed", "<MORE_DETAILED_CAPTION>": "more_detailed",
}  # fmt: skip
ANNOTATING = (*TEXTS, DETECTION, DENSE, GROUNDING, WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """`tasks` are what the model annotates, `support` the tasks whose targets judge the shown labels. A dense
    caption describes the detected box with which its own box has at least `same_place` IoU."""

    model: str = field(metadata=CONTENT)
    tasks: tuple[str, ...] = ("<CAPTION>", DETECTION, DENSE, GROUNDING)
    support: tuple[str, ...] = ("<CAPTION>", CATEGORY, GROUNDING)
    ground: tuple[Granularity, ...] = ("brief",)
    resolution: int = 768
    max_tokens: int = 256
    rows: int = 128
    same_place: float = 0.5
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for token in self.tasks:
            if token not in ANNOTATING:
                raise ValueError(f"refine.tasks: {token} makes no annotation; known: {', '.join(ANNOTATING)}")
        for name in self.ground:
            if name not in get_args(Granularity):
                raise ValueError(f"refine.ground: {name}; known: {', '.join(get_args(Granularity))}")


class Refine:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: RefineConfig) -> None:
        import torch

        from stages.florence.model import load

        torch.set_num_threads(thread_count())
        cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
        florence = load(config.model)
        florence.model.to("cuda" if cuda else "cpu", getattr(torch, config.dtype))
        self.config = config
        self.engine = Engine(florence, config.resolution, rows=config.rows, max_prompt_tokens=config.max_tokens)

    def __call__(self, batch: Batch) -> list[Result]:
        if not batch:
            return []
        shown = [s.annotations.kept() for s in batch]
        features = self.engine.look([s.pixels for s in batch])
        asked = [ask for i, old in enumerate(shown) for ask in self._questions(i, old)]
        answers = self.engine.ask(features, [question for _, question, _ in asked])
        readings = [read(self.engine.florence, tokens) for tokens in answers]
        results = []
        support = self._support(features, batch, shown)
        for i, (sample, old) in enumerate(zip(batch, shown, strict=True)):
            mine = [(t, text, r) for (t, q, text), r in zip(asked, readings, strict=True) if q.image == i]
            new = self._annotations(sample, mine)
            results.append(judged(old, support[i]).overlaid(new))
        return results

    def _questions(self, image: int, old: Annotations) -> list[tuple[str, Question, Text | None]]:
        """(task, question, the text that it grounds) for everything this image is asked."""
        asked: list[tuple[str, Question, Text | None]] = []
        for token in self.config.tasks:
            about: Sequence[Text | None] = [None]
            if token == GROUNDING:
                about = [t for t in old.texts if t.granularity in self.config.ground]
            for text in about:
                prompt = task(token).prompt.format(input=codec.clean(text.text) if text else "")
                question = Question(image, prompt, task(token).answer, self.config.max_tokens)
                asked.append((token, question, text))
        return asked

    def _annotations(self, sample: Sample, answers: Sequence[tuple[str, Text | None, Reading]]) -> Annotations:
        """What the answers say of one sample."""
        new = Annotations()
        readings = {token: reading for token, text, reading in answers if text is None}
        for token, granularity in TEXTS.items():
            if (reading := readings.get(token)) and reading.text.strip():
                score = math.exp(reading.mean())
                new.texts.append(Text(granularity=granularity, text=reading.text.strip(), score=score))
        described = codec.places(readings[DENSE].text, sample.size, 4) if DENSE in readings else []
        if DETECTION in readings:
            new.regions.extend(regions(readings[DETECTION], described, sample.size, self.config.same_place))
        if WORDS in readings:
            new.text_regions.extend(words(readings[WORDS], sample.size))
        for _, text, reading in answers:
            if text is not None:
                new.triplets.extend(triplets(text, reading, sample.size))
        return new

    def _support(self, features: object, batch: Batch, shown: Sequence[Annotations]) -> list[dict[str, float]]:
        """Per sample, the mean log-probability per token of each shown annotation that a task of `support` covers."""
        rows = [
            (i, pair)
            for i, (sample, old) in enumerate(zip(batch, shown, strict=True))
            for token in self.config.support
            for pair in task(token).pairs(old, sample.size)
        ]
        found: list[dict[str, float]] = [{} for _ in batch]
        if not rows:
            return found
        tokens = self.engine.support(features, [(i, p.prompt, p.target) for i, p in rows], self.config.max_tokens)
        for (i, pair), answer in zip(rows, tokens, strict=True):
            found[i].update(label_support(pair, read(self.engine.florence, answer)))
        return found


def label_support(pair: Pair, reading: Reading) -> dict[str, float]:
    """The mean log-probability of every annotation's own tokens in a forced target; one that was cut off has none."""
    return {
        identity: reading.mean(spans)
        for identity, spans in pair.labels.items()
        if all(end <= len(reading.text) for _, end in spans)
    }


def judged(old: Annotations, support: dict[str, float]) -> Annotations:
    """The old annotations that got a judgement, with it."""
    return Annotations(
        [replace(t, support=support[t.id]) for t in old.texts if t.id in support],
        [replace(r, support=support[r.id]) for r in old.regions if r.id in support],
        [replace(w, support=support[w.id]) for w in old.text_regions if w.id in support],
        [replace(t, support=support[t.id]) for t in old.triplets if t.id in support],
    )


def regions(
    reading: Reading, described: Sequence[codec.Found], size: codec.Size, same_place: float
) -> list[Region]:
    """Detected boxes, each with the description of the dense caption that lies on it."""
    found = []
    for place in codec.places(reading.text, size, 4):
        box = _box(place)
        near = max(described, key=lambda d: overlap(_box(d), box), default=None)
        brief = near.label if near is not None and overlap(_box(near), box) >= same_place else None
        candidates = [Candidate(text=place.label, kind="phrase")]
        if brief is not None and brief != place.label:
            candidates.append(Candidate(text=brief, kind="caption"))
        found.append(
            Region(
                box=box,
                phrase=place.label,
                brief=brief or place.label,
                brief_kind=candidates[-1].kind,
                candidates=candidates,
                score=math.exp(reading.mean(place.spans)),
            )
        )
    return [r for r in found if r.phrase]


def words(reading: Reading, size: codec.Size) -> list[TextRegion]:
    return [
        TextRegion(quad=_quad(place), text=place.label, score=math.exp(reading.mean(place.spans)))
        for place in codec.places(reading.text, size, 8)
        if place.label
    ]


def triplets(text: Text, reading: Reading, size: codec.Size) -> list[Triplet]:
    """The grounded phrases that stand in the text, each with its boxes."""
    return [
        Triplet(
            text_id=text.id,
            phrase=text.text[start:end],
            start=start,
            end=end,
            box=_box(place),
            score=math.exp(reading.mean(place.spans[1:])),
            phrase_score=math.exp(reading.mean(place.spans[:1])),
        )
        for start, end, place in find_phrases(text, codec.places(reading.text, size, 4))
    ]


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    whole = codec.area(a) + codec.area(b) - shared
    return shared / whole if whole > 0 else 0.0


def _box(place: codec.Found) -> Box:
    x1, y1, x2, y2 = place.points
    return (x1, y1, x2, y2)


def _quad(place: codec.Found) -> tuple[float, float, float, float, float, float, float, float]:
    x1, y1, x2, y2, x3, y3, x4, y4 = place.points
    return (x1, y1, x2, y2, x3, y3, x4, y4)
