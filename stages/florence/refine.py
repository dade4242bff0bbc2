"""A trained Florence-2 annotates anew and judges the labels it is shown.

In: the image and the kept annotations of the round before. Out: (a) the model's own annotations: texts,
regions (category from object detection, brief text from the dense captions), words with quads, and the
phrases of the shown brief texts with their boxes; `score` is the exponential of the mean belief in an
annotation's tokens (a token's probability; a location's that of all locations within 2% of the image). (b)
the shown annotations again. Both carry `support`, the mean belief per token of the label when the model is
asked its question (a region: its category and its description, given its box; the lower one counts). Paper
section 4.2, "iterative data refinement"; spec 1.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_args

from pipeline.schema import (
    Annotation,
    Annotations,
    Box,
    Candidate,
    Granularity,
    Quad,
    Region,
    Text,
    TextRegion,
    Triplet,
)
from stages.base import CONTENT, Batch, Result, Sample, thread_count
from stages.florence import codec
from stages.florence.inference import Engine, Question, Reading, read
from stages.florence.tasks import Pair, find_phrases, task

if TYPE_CHECKING:
    import torch

DETECTION, DENSE, GROUNDING = "<OD>", "<DENSE_REGION_CAPTION>", "<CAPTION_TO_PHRASE_GROUNDING>"
WORDS, CATEGORY, DESCRIPTION = "<OCR_WITH_REGION>", "<REGION_TO_CATEGORY>", "<REGION_TO_DESCRIPTION>"
TEXTS: dict[str, Granularity] = {
    "<CAPTION>": "brief", "<DETAILED_CAPTION>": "detailed", "<MORE_DETAILED_CAPTION>": "more_detailed",
}  # fmt: skip
ANNOTATING = (*TEXTS, DETECTION, DENSE, GROUNDING, WORDS)
T = TypeVar("T", bound=Annotation)
_OWN = "own."  # marks the model's regions while they are judged together with the shown ones


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """`tasks` are what the model annotates, `support` the tasks whose targets judge the shown labels. A dense
    caption describes the detected box with which its own box has at least `same_place` IoU."""

    model: str = field(metadata=CONTENT)
    tasks: tuple[str, ...] = ("<CAPTION>", DETECTION, DENSE, GROUNDING)
    support: tuple[str, ...] = ("<CAPTION>", CATEGORY, DESCRIPTION, GROUNDING)
    ground: tuple[Granularity, ...] = ("brief",)
    resolution: int = 768
    max_tokens: int = 256
    rows: int = 128
    beams: int = 1
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

        from stages.florence.model import load, place

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

    def __call__(self, batch: Batch) -> list[Result]:
        if not batch:
            return []
        shown = [s.annotations.kept() for s in batch]
        features = self.engine.look([s.pixels for s in batch])
        asked = [ask for i, old in enumerate(shown) for ask in self._questions(i, old)]
        answers = self.engine.ask(features, [question for _, question, _ in asked])
        said: list[list[tuple[str, Text | None, Reading]]] = [[] for _ in batch]
        for (token, question, text), tokens in zip(asked, answers, strict=True):
            said[question.image].append((token, text, read(self.engine.florence, tokens)))
        new = [self._annotations(sample, mine) for sample, mine in zip(batch, said, strict=True)]
        return list(self._judged(features, batch, shown, new))

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
                belief = reading.mean()
                new.texts.append(
                    Text(
                        granularity=granularity,
                        text=reading.text.strip(),
                        score=math.exp(belief),
                        support=belief,
                    )
                )
        described = codec.places(readings[DENSE].text, sample.size, 4) if DENSE in readings else []
        if DETECTION in readings:
            new.regions.extend(regions(readings[DETECTION], described, sample.size, self.config.same_place))
        if WORDS in readings:
            new.text_regions.extend(words(readings[WORDS], sample.size))
        for _, text, reading in answers:
            if text is not None:
                new.triplets.extend(triplets(text, reading, sample.size))
        return new

    def _judged(
        self, features: torch.Tensor, batch: Batch, shown: Sequence[Annotations], new: Sequence[Annotations]
    ) -> Iterator[Annotations]:
        """The shown annotations and the model's own regions with their support, behind them its other new
        ones."""
        both = [
            replace(
                old,
                regions=[*old.regions, *(replace(r, id=f"{_OWN}{i}") for i, r in enumerate(mine.regions))],
            )
            for old, mine in zip(shown, new, strict=True)
        ]
        support = self._support(features, [s.size for s in batch], both)
        for seen, values, mine in zip(both, support, new, strict=True):
            judged = with_support(seen, values)
            regions = [replace(r, id="") if r.id.startswith(_OWN) else r for r in judged.regions]
            yield replace(
                judged,
                texts=judged.texts + mine.texts,
                regions=regions,
                text_regions=judged.text_regions + mine.text_regions,
                triplets=judged.triplets + mine.triplets,
            )

    def _support(
        self, features: torch.Tensor, sizes: Sequence[codec.Size], seen: Sequence[Annotations]
    ) -> list[dict[str, float]]:
        """Per sample, the support of each annotation that a task of `support` covers; of several, the lowest:
        a region is as good as the worse of its category and its description."""
        rows = [
            (i, pair)
            for i, (size, annotations) in enumerate(zip(sizes, seen, strict=True))
            for token in self.config.support
            for pair in task(token).pairs(annotations, size)
        ]
        found: list[dict[str, float]] = [{} for _ in seen]
        tokens = self.engine.support(features, [(i, p.prompt, p.target) for i, p in rows], self.config.max_tokens)
        for (i, pair), answer in zip(rows, tokens, strict=True):
            for identity, value in label_support(pair, read(self.engine.florence, answer)).items():
                found[i][identity] = min(value, found[i].get(identity, 0.0))
        return found


def label_support(pair: Pair, reading: Reading) -> dict[str, float]:
    """The mean belief in every annotation's own tokens of a forced target; one that was cut off has none."""
    return {
        identity: reading.mean(spans)
        for identity, spans in pair.labels.items()
        if all(end <= len(reading.text) for _, end in spans)
    }


def with_support(seen: Annotations, support: dict[str, float]) -> Annotations:
    """The annotations that got a judgement, with it, and the model's own regions in any case."""

    def judged(kind: Sequence[T]) -> list[T]:
        return [replace(a, support=support.get(a.id)) for a in kind if a.id in support or a.id.startswith(_OWN)]

    return Annotations(judged(seen.texts), judged(seen.regions), judged(seen.text_regions), judged(seen.triplets))


def regions(reading: Reading, described: Sequence[codec.Found], size: codec.Size, same_place: float) -> list[Region]:
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
            support=reading.mean(place.spans),
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


def _quad(place: codec.Found) -> Quad:
    x1, y1, x2, y2, x3, y3, x4, y4 = place.points
    return (x1, y1, x2, y2, x3, y3, x4, y4)
