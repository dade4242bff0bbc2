"""A trained Florence-2 annotates anew and judges the labels it is shown.

In: the image and the kept annotations of the round before. Out:
(a) the model's own annotations, as far as `tasks` go: texts, regions (from object detection and from the dense
    captions, which find what the other misses; what one lacks, the region is asked for), words with quads, and the
    phrases of the shown brief texts with their boxes. `score` is the exponential of the mean belief in an annotation's
    tokens (a token's probability; a location's that of all locations within 2% of the image), of a phrase its locations
    only.
(b) the shown annotations that a task of `support` covers, with `support`: the mean belief per token of the label when
    the model is asked its question (a region: its category and its description, given its box; the lower one counts).
    Own regions have it too.
(c) alternatives: what the model itself answers to the same question where that is not the shown label, with the shown
    annotation as its parent. Both sides of that comparison answer one question, so no scale has to be known.

Paper section 4.2, "iterative data refinement"; spec 1.3. With `folds` a model looks only at the samples of its fold,
which its training left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args

from pipeline.schema import Annotation, Annotations, Granularity, Region, Text, TextRegion
from stages.base import CONTENT, Batch, Result, Sample, fold_of, thread_count
from stages.florence import codec
from stages.florence.answers import label, label_support, named, regions, triplets, words
from stages.florence.inference import Engine, Question, Reading, read
from stages.florence.tasks import TEXTS, task
from stages.geometry import bounds

if TYPE_CHECKING:
    import torch

DETECTION, DENSE, GROUNDING = "<OD>", "<DENSE_REGION_CAPTION>", "<CAPTION_TO_PHRASE_GROUNDING>"
WORDS, CATEGORY, DESCRIPTION = (
    "<OCR_WITH_REGION>",
    "<REGION_TO_CATEGORY>",
    "<REGION_TO_DESCRIPTION>",
)
REGION_WORDS = "<REGION_TO_OCR>"
ANNOTATING = (*TEXTS, DETECTION, DENSE, GROUNDING, WORDS)
T = TypeVar("T", bound=Annotation)
_ANY = (1, 1)  # a size, where places do not matter
_OWN = "own."  # marks the model's regions while they are judged together with the shown ones


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """`tasks` are what the model annotates, `support` the tasks whose targets judge the shown labels. A dense
    caption describes the detected box with which its own box has at least `same_place` IoU; `missing` are texts that
    are written only where there is none; with `fresh` only texts of this round are grounded.

    `centre` moves every location of an answer to the mean of the belief within so many bins: the likeliest bin of a
    model that learned from jittered boxes is a draw from the jitter, their mean is not (greedy answers only; 0: off).
    """

    model: str = field(metadata=CONTENT)
    tasks: tuple[str, ...] = ("<CAPTION>", DETECTION, DENSE, GROUNDING)
    support: tuple[str, ...] = ("<CAPTION>", CATEGORY, DESCRIPTION, GROUNDING)
    ground: tuple[Granularity, ...] = ("brief",)
    missing: tuple[Granularity, ...] = ()
    fresh: bool = False
    alternatives: bool = True
    resolution: int = 768
    max_tokens: int = 256
    rows: int = 128
    beams: int = 1
    same_place: float = 0.5
    centre: int = 80
    fold: int = 0
    folds: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for token in self.tasks:
            if token not in ANNOTATING:
                raise ValueError(
                    f"refine.tasks: {token} makes no annotation; known: {', '.join(ANNOTATING)}"
                )
        for name in self.ground:
            if name not in get_args(Granularity):
                raise ValueError(
                    f"refine.ground: {name}; known: {', '.join(get_args(Granularity))}"
                )


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the task it is of, and the shown or own annotation that it is about (None: the image)."""

    token: str
    question: Question
    about: Any = None


class Refine:
    version: ClassVar[int] = 4
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
            centre=config.centre,
        )

    def __call__(self, batch: Batch) -> list[Result]:
        mine = [
            i for i, s in enumerate(batch) if fold_of(s.key, self.config.folds) == self.config.fold
        ]
        results: list[Result] = [Annotations() for _ in batch]
        if mine:
            for i, result in zip(mine, self._refined([batch[i] for i in mine]), strict=True):
                results[i] = result
        return results

    def _refined(self, batch: Batch) -> Iterator[Annotations]:
        shown = [s.annotations.kept() for s in batch]
        features = self.engine.look([s.pixels for s in batch])
        said = self._answers(
            features, [ask for i, s in enumerate(batch) for ask in self._questions(i, s, shown[i])]
        )
        new = [self._annotations(sample, said[i]) for i, sample in enumerate(batch)]
        pairs = list(zip(batch, shown, new, strict=True))
        said = self._answers(
            features, [ask for i, each in enumerate(pairs) for ask in self._about_regions(i, *each)]
        )
        new = [_described(mine, said[i]) for i, mine in enumerate(new)]
        seen = [_together(old, mine) for old, mine in zip(shown, new, strict=True)]
        support = self._support(features, [s.size for s in batch], seen)
        for i, sample in enumerate(batch):
            judged = with_support(seen[i], support[i])
            other = list(alternatives(shown[i], said[i], sample.size))
            yield _joined(judged, new[i], other)

    def _answers(
        self, features: torch.Tensor, asked: Sequence[Asked]
    ) -> list[list[tuple[Asked, Reading]]]:
        """By image, what was asked and answered."""
        tokens = self.engine.ask(features, [each.question for each in asked])
        said: list[list[tuple[Asked, Reading]]] = [[] for _ in range(len(features))]
        for each, answer in zip(asked, tokens, strict=True):
            said[each.question.image].append((each, read(self.engine.florence, answer)))
        return said

    def _ask(self, token: str, image: int, about: Annotation | None, words: str = "") -> Asked:
        prompt = task(token).prompt.format(input=words)
        return Asked(
            token, Question(image, prompt, task(token).answer, self.config.max_tokens), about
        )

    def _questions(self, image: int, sample: Sample, old: Annotations) -> list[Asked]:
        """Everything this image is asked."""
        config, known = self.config, {text.granularity for text in old.texts}
        asked = [self._ask(token, image, None) for token in config.tasks if token != GROUNDING]
        asked += [
            self._ask(token, image, None)
            for token, g in TEXTS.items()
            if g in config.missing and g not in known
        ]
        if GROUNDING in config.tasks:
            texts = [text for text in old.texts if text.granularity in config.ground]
            texts = [text for text in texts if sample.fresh(text) or not config.fresh]
            asked += [self._ask(GROUNDING, image, text, codec.clean(text.text)) for text in texts]
        return asked

    def _about_regions(
        self, image: int, sample: Sample, old: Annotations, mine: Annotations
    ) -> list[Asked]:
        """What own regions without a category or a description, and shown ones that may change, are asked."""
        judges = [token for token in (CATEGORY, DESCRIPTION) if token in self.config.support]
        about: list[tuple[str, Region | TextRegion]] = [
            (CATEGORY, r) for r in mine.regions if not r.phrase
        ]
        if DESCRIPTION in judges:
            about += [(DESCRIPTION, r) for r in mine.regions if r.brief_kind == "phrase"]
        if self.config.alternatives:
            about += [(token, r) for r in old.regions if not r.locked for token in judges]
            about += [
                (REGION_WORDS, w) for w in old.text_regions if REGION_WORDS in self.config.support
            ]
        return [
            self._ask(token, image, item, codec.locations(bounds(item), sample.size))
            for token, item in about
        ]

    def _annotations(self, sample: Sample, said: Sequence[tuple[Asked, Reading]]) -> Annotations:
        """What the answers say of one sample; regions with a mark in place of their id."""
        new = Annotations()
        readings = {asked.token: reading for asked, reading in said if asked.about is None}
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
        found = regions(
            readings.get(DETECTION), readings.get(DENSE), sample.size, self.config.same_place
        )
        new.regions.extend(replace(region, id=f"{_OWN}{i}") for i, region in enumerate(found))
        if WORDS in readings:
            new.text_regions.extend(words(readings[WORDS], sample.size))
        for asked, reading in said:
            if isinstance(asked.about, Text):
                new.triplets.extend(triplets(asked.about, reading, sample.size))
        return new

    def _asked(self, token: str, seen: Annotations) -> Annotations:
        """What a task judges: of phrases those of the texts that are grounded, since the others cannot be found."""
        if token != GROUNDING:
            return seen
        return replace(
            seen, texts=[text for text in seen.texts if text.granularity in self.config.ground]
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
            for pair in task(token).pairs(self._asked(token, annotations), size)
        ]
        found: list[dict[str, float]] = [{} for _ in seen]
        tokens = self.engine.support(
            features, [(i, p.prompt, p.target) for i, p in rows], self.config.max_tokens
        )
        for (i, pair), answer in zip(rows, tokens, strict=True):
            for identity, value in label_support(pair, read(self.engine.florence, answer)).items():
                found[i][identity] = min(value, found[i].get(identity, 0.0))
        return found


def alternatives(
    shown: Annotations, said: Sequence[tuple[Asked, Reading]], size: codec.Size
) -> Iterator[Region | TextRegion]:
    """What the model calls the shown regions and words where that differs from what they are called."""
    answers = {
        (asked.token, asked.about.id): reading for asked, reading in said if asked.about is not None
    }
    for region in shown.regions:
        phrase, sure = label(answers.get((CATEGORY, region.id)), size, region.phrase)
        brief, surer = label(
            answers.get((DESCRIPTION, region.id)), size, region.brief or region.phrase
        )
        belief = min(sure, surer)
        if phrase and brief and (phrase, brief) != (region.phrase, region.brief or region.phrase):
            other = Region(
                box=region.box,
                phrase=phrase,
                parents=[region.id],
                score=math.exp(belief),
                support=belief,
            )
            yield named(other, phrase, brief)
    for word in shown.text_regions:
        reading = answers.get((REGION_WORDS, word.id))
        if reading is not None and reading.text.strip() not in ("", word.text):
            belief = reading.mean()
            yield TextRegion(
                quad=word.quad,
                text=reading.text.strip(),
                parents=[word.id],
                score=math.exp(belief),
                support=belief,
            )


def with_support(seen: Annotations, support: dict[str, float]) -> Annotations:
    """The annotations that got a judgement, with it, and the model's own regions in any case."""

    def judged(kind: Sequence[T]) -> list[T]:
        return [
            replace(a, support=support.get(a.id))
            for a in kind
            if a.id in support or a.id.startswith(_OWN)
        ]

    return Annotations(
        judged(seen.texts), judged(seen.regions), judged(seen.text_regions), judged(seen.triplets)
    )


def _described(mine: Annotations, said: Sequence[tuple[Asked, Reading]]) -> Annotations:
    """Own regions with the category and the description that they were asked for; one that got no category goes."""
    answers = {
        (asked.token, asked.about.id): reading for asked, reading in said if asked.about is not None
    }
    described = []
    for region in mine.regions:
        phrase, brief = region.phrase, region.brief or ""
        if not phrase:
            phrase = label(answers[CATEGORY, region.id], _ANY, "")[0]
        elif (DESCRIPTION, region.id) in answers:
            brief = label(answers[DESCRIPTION, region.id], _ANY, "")[0]
        if phrase:
            described.append(named(region, phrase, brief))
    return replace(mine, regions=described)


def _together(shown: Annotations, mine: Annotations) -> Annotations:
    return replace(shown, regions=[*shown.regions, *mine.regions])


def _joined(
    judged: Annotations, mine: Annotations, other: Sequence[Region | TextRegion]
) -> Annotations:
    """The shown annotations with their support, then everything new, without ids."""
    own = [replace(r, id="") if r.id.startswith(_OWN) else r for r in judged.regions]
    return Annotations(
        judged.texts + mine.texts,
        own + [a for a in other if isinstance(a, Region)],
        judged.text_regions + mine.text_regions + [a for a in other if isinstance(a, TextRegion)],
        judged.triplets + mine.triplets,
    )
