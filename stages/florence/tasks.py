"""The tasks of Florence-2 in one table: prompt, objective family, kind of answer (how it is parsed and which grammar
keeps it well formed), and targets from our annotations.

Two have no token in the released table: referring expression comprehension, which borrows the prompt of
open-vocabulary detection (the paper lists the task and prints no prompt), and VQA, whose prompt is the question.

A `Pair` is one training example and, with `Pair.labels`, the place in the target where each annotation stands, so that
teacher forcing can say how likely the model finds each of them. Only kept annotations make targets. Spec 4.2, 4.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from pipeline.schema import Annotation, Annotations, Granularity, Region, Triplet
from stages.florence import codec
from stages.florence.codec import Size, clean, locations
from stages.geometry import area

Family = Literal["image", "region", "alignment"]
Answer = Literal[
    "text", "boxes", "proposals", "quads", "phrases", "polygons", "region_text", "boxes_or_polygons"
]
Parsed = str | list[codec.Found] | list[codec.Outlined]
GROUPS: dict[Answer, int] = {  # locations that make one place
    "boxes": 4,
    "phrases": 4,
    "region_text": 4,
    "boxes_or_polygons": 4,
    "proposals": 4,
    "quads": 8,
    "polygons": 2,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and its target; `labels` maps the id of an annotation to its character spans in the target."""

    task: str
    prompt: str
    target: str
    labels: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """`prompt` may hold `{input}`; `build` yields (input, target writer) for every example an image can
    give."""

    token: str
    prompt: str
    family: Family
    answer: Answer
    build: Callable[[Annotations, Size], Iterable[tuple[str, _Target]]]

    def pairs(self, annotations: Annotations, size: Size) -> list[Pair]:
        return [
            Pair(self.token, self.prompt.format(input=value), target.text, target.labels)
            for value, target in self.build(annotations.kept(), size)
        ]

    def parse(self, answer: str, size: Size) -> Parsed:
        """What an answer says; tokens of control are skipped."""
        text = codec.strip_control(answer)
        if self.answer == "text":
            return text.strip()
        if self.answer == "polygons" or (
            self.answer == "boxes_or_polygons" and codec.POLYGON in text
        ):
            return codec.outlines(text, size)
        return codec.places(text, size, GROUPS[self.answer])


class _Target:
    """A target string under construction that remembers where each annotation stands."""

    def __init__(self) -> None:
        self.text, self.labels = "", dict[str, list[tuple[int, int]]]()

    def add(self, text: str, owners: Iterable[Annotation] = ()) -> _Target:
        span = (len(self.text), len(self.text) + len(text))
        for owner in owners:
            self.labels.setdefault(owner.id, []).append(span)
        self.text += text
        return self


Built = Iterable[tuple[str, _Target]]


def _texts(granularity: str) -> Callable[[Annotations, Size], Built]:
    def build(annotations: Annotations, size: Size) -> Built:
        for text in annotations.texts:
            if text.granularity == granularity:
                yield "", _Target().add(clean(text.text), [text])

    return build


def _grouped(regions: Sequence[Region], size: Size, label: Callable[[Region], str]) -> Built:
    """One target: each label once, then the boxes that share it; no regions, no example."""
    target = _Target()
    for name, group in groupby(regions, key=label):
        members = list(group)
        target.add(clean(name), members)
        for region in members:
            target.add(locations(region.box, size), [region])
    if regions:
        yield "", target


def _detection(annotations: Annotations, size: Size) -> Built:
    ordered = sorted(annotations.regions, key=lambda r: (r.phrase, -area(r.box), r.box))
    return _grouped(ordered, size, lambda r: r.phrase)


def _brief(region: Region) -> str:
    return region.brief or region.phrase


def _dense(annotations: Annotations, size: Size) -> Built:
    largest: dict[str, float] = {}
    for region in annotations.regions:
        largest[_brief(region)] = max(largest.get(_brief(region), 0.0), area(region.box))
    ordered = sorted(
        annotations.regions, key=lambda r: (-largest[_brief(r)], _brief(r), -area(r.box), r.box)
    )
    return _grouped(ordered, size, _brief)


def _proposals(annotations: Annotations, size: Size) -> Built:
    target = _Target()
    for region in sorted(annotations.regions, key=lambda r: (-area(r.box), r.box)):
        target.add(locations(region.box, size), [region])
    if annotations.regions:
        yield "", target


def _grounding(annotations: Annotations, size: Size) -> Built:
    for text in annotations.texts:
        triplets = [t for t in annotations.triplets if t.text_id == text.id]
        triplets.sort(key=lambda t: (t.start, t.end, -area(t.box), t.box))
        target = _Target()
        for (start, end), group in groupby(triplets, key=lambda t: (t.start, t.end)):
            members = list(group)
            target.add(clean(text.text[start:end]), members)
            for triplet in members:
                target.add(locations(triplet.box, size), [triplet])
        if triplets:
            yield clean(text.text), target


def _named(annotations: Annotations, size: Size) -> Built:
    """Open-vocabulary detection: one example per category, the label repeated before every box."""
    for name, group in groupby(
        sorted(annotations.regions, key=lambda r: r.phrase), key=lambda r: r.phrase
    ):
        target = _Target()
        for region in sorted(group, key=lambda r: (-area(r.box), r.box)):
            target.add(clean(name) + locations(region.box, size), [region])
        yield clean(name), target


def _referred(annotations: Annotations, size: Size) -> Built:
    """Referring expressions: descriptions that only one region of the image has."""
    counts = Counter(clean(_brief(region)) for region in annotations.regions)
    for region in annotations.regions:
        expression = clean(_brief(region))
        if expression and counts[expression] == 1:
            yield (
                expression,
                _Target().add(expression, [region]).add(locations(region.box, size), [region]),
            )


def _asked(annotations: Annotations, size: Size) -> Built:
    """Questions: our annotations hold none."""
    return ()


def _region_text(label: Callable[[Region], str]) -> Callable[[Annotations, Size], Built]:
    def build(annotations: Annotations, size: Size) -> Built:
        for region in annotations.regions:
            place = locations(region.box, size)
            yield place, _Target().add(clean(label(region)), [region]).add(place)

    return build


def _region_words(annotations: Annotations, size: Size) -> Built:
    for word in annotations.text_regions:
        xs, ys = word.quad[0::2], word.quad[1::2]
        box = (min(xs), min(ys), max(xs), max(ys))
        yield locations(box, size), _Target().add(clean(word.text), [word])


def _words(annotations: Annotations, size: Size) -> Built:
    target = _Target()
    for word in annotations.text_regions:
        target.add("\n" if target.text else "").add(clean(word.text), [word])
    if annotations.text_regions:
        yield "", target


def _words_with_quads(annotations: Annotations, size: Size) -> Built:
    target = _Target()
    for word in annotations.text_regions:
        target.add(clean(word.text) + locations(word.quad, size), [word])
    if annotations.text_regions:
        yield "", target


def _masked_regions(annotations: Annotations, size: Size) -> Built:
    for region in annotations.regions:
        if (target := _outlined(region, size)).text:
            yield locations(region.box, size), target


def _masked_phrases(annotations: Annotations, size: Size) -> Built:
    """Referring segmentation: phrases with exactly one box, so that the words say which."""
    boxes = Counter((t.text_id, t.start, t.end) for t in annotations.triplets)
    for triplet in annotations.triplets:
        alone = boxes[triplet.text_id, triplet.start, triplet.end] == 1
        if alone and (target := _outlined(triplet, size)).text:
            yield clean(triplet.phrase), target


def _outlined(owner: Region | Triplet, size: Size) -> _Target:
    """The outlines of a mask; nothing when there is no mask, or too small a one."""
    from stages.florence.polygons import polygons

    parts = (
        [locations(polygon, size) for polygon in polygons(owner.mask)]
        if owner.mask is not None
        else []
    )
    return _Target().add(codec.SEPARATOR.join(parts), [owner])


TASKS: dict[str, Task] = {
    task.token: task
    for task in (
        Task("<CAPTION>", "What does the image describe?", "image", "text", _texts("brief")),
        Task(
            "<DETAILED_CAPTION>",
            "Describe in detail what is shown in the image.",
            "image",
            "text",
            _texts("detailed"),
        ),
        Task(
            "<MORE_DETAILED_CAPTION>",
            "Describe with a paragraph what is shown in the image.",
            "image",
            "text",
            _texts("more_detailed"),
        ),
        Task(
            "<OD>",
            "Locate the objects with category name in the image.",
            "region",
            "boxes",
            _detection,
        ),
        Task(
            "<DENSE_REGION_CAPTION>",
            "Locate the objects in the image, with their descriptions.",
            "region",
            "boxes",
            _dense,
        ),
        Task(
            "<REGION_PROPOSAL>",
            "Locate the region proposals in the image.",
            "region",
            "proposals",
            _proposals,
        ),
        Task("<OCR>", "What is the text in the image?", "image", "text", _words),
        Task(
            "<OCR_WITH_REGION>",
            "What is the text in the image, with regions?",
            "region",
            "quads",
            _words_with_quads,
        ),
        Task(
            "<CAPTION_TO_PHRASE_GROUNDING>",
            "Locate the phrases in the caption: {input}",
            "alignment",
            "phrases",
            _grounding,
        ),
        Task(
            "<REFERRING_EXPRESSION_SEGMENTATION>",
            "Locate {input} in the image with mask",
            "alignment",
            "polygons",
            _masked_phrases,
        ),
        Task(
            "<REGION_TO_SEGMENTATION>",
            "What is the polygon mask of region {input}",
            "region",
            "polygons",
            _masked_regions,
        ),
        Task(
            "<OPEN_VOCABULARY_DETECTION>",
            "Locate {input} in the image.",
            "alignment",
            "boxes_or_polygons",
            _named,
        ),
        Task(
            "<REGION_TO_CATEGORY>",
            "What is the region {input}?",
            "region",
            "region_text",
            _region_text(lambda r: r.phrase),
        ),
        Task(
            "<REGION_TO_DESCRIPTION>",
            "What does the region {input} describe?",
            "region",
            "region_text",
            _region_text(_brief),
        ),
        Task(
            "<REGION_TO_OCR>",
            "What text is in the region {input}?",
            "region",
            "text",
            _region_words,
        ),
        Task(
            "<REFERRING_EXPRESSION_COMPREHENSION>",
            "Locate {input} in the image.",
            "region",
            "region_text",
            _referred,
        ),
        Task("<VQA>", "{input}", "image", "text", _asked),
    )
}


TEXTS: dict[str, Granularity] = {
    "<CAPTION>": "brief",
    "<DETAILED_CAPTION>": "detailed",
    "<MORE_DETAILED_CAPTION>": "more_detailed",
}


def task(token: str) -> Task:
    if token not in TASKS:
        raise ValueError(f"{token}: no such task; known: {', '.join(TASKS)}")
    return TASKS[token]
