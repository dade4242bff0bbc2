"""The tasks of Florence-2 in one table: prompt, objective family, kind of answer and targets.

The kind of an answer decides how it is parsed and which grammar keeps it well formed. Prompts and
tokens are those of `Florence2Processor` of `transformers`. Two tasks have no token there: referring
expression comprehension, for which the paper prints no prompt, borrows that of open-vocabulary
detection; the prompt of VQA is the question.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pipeline.schema import Annotations, Granularity
from stages.florence import codec, targets
from stages.florence.codec import Size
from stages.florence.targets import Builder

Family = Literal["image", "region", "alignment"]
"""Objectives of the paper (section 2.1): image level, region and pixel level, and fine-grained
visual-semantic alignment."""

AnswerKind = Literal[
    "text",
    "boxes",
    "proposals",
    "quads",
    "phrases",
    "polygons",
    "region_text",
    "boxes_or_polygons",
]
ParsedAnswer = str | list[codec.Place] | list[codec.Instance]

LOCATIONS_PER_PLACE: dict[AnswerKind, int] = {
    "boxes": 4,
    "phrases": 4,
    "region_text": 4,
    "boxes_or_polygons": 4,
    "proposals": 4,
    "quads": 8,
    "polygons": 2,
}
"""Number of location tokens that make one place: a box, a quad or a vertex. Texts have none."""


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: a question about an image and the answer to learn."""

    task: str
    """Token of the task, for example `<OD>`."""

    prompt: str
    """Question, with its input filled in."""

    target: str
    """Answer, with its locations as tokens."""

    label_spans: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Where the target says each annotation, by its id: (start, end) in characters."""


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the table."""

    token: str
    """Name of the task, for example `<OD>`."""

    prompt: str
    """Question; `{input}` stands for the region, phrase or caption that it is about."""

    family: Family
    """Objective family that the task belongs to."""

    answer_kind: AnswerKind
    """How answers are parsed, and which grammar they follow."""

    build: Builder
    """Makes the targets from the annotations of an image."""

    def examples(self, annotations: Annotations, size: Size) -> list[Example]:
        """Return all examples that the kept annotations of an image give."""
        examples = []
        for target in self.build(annotations.kept(), size):
            prompt = self.prompt.format(input=target.prompt_input)
            examples.append(Example(self.token, prompt, target.text, target.label_spans))
        return examples

    def parse(self, answer: str, size: Size) -> ParsedAnswer:
        """Read an answer: a text, places or outlined instances, in pixels of the image."""
        text = codec.strip_control(answer)
        if self.answer_kind == "text":
            return text.strip()
        has_outlines = self.answer_kind == "polygons"
        if self.answer_kind == "boxes_or_polygons":
            has_outlines = codec.POLYGON in text
        if has_outlines:
            return codec.outlines(text, size)
        return codec.places(text, size, LOCATIONS_PER_PLACE[self.answer_kind])


_TABLE = (
    Task(
        token="<CAPTION>",
        prompt="What does the image describe?",
        family="image",
        answer_kind="text",
        build=targets.texts("brief"),
    ),
    Task(
        token="<DETAILED_CAPTION>",
        prompt="Describe in detail what is shown in the image.",
        family="image",
        answer_kind="text",
        build=targets.texts("detailed"),
    ),
    Task(
        token="<MORE_DETAILED_CAPTION>",
        prompt="Describe with a paragraph what is shown in the image.",
        family="image",
        answer_kind="text",
        build=targets.texts("more_detailed"),
    ),
    Task(
        token="<OD>",
        prompt="Locate the objects with category name in the image.",
        family="region",
        answer_kind="boxes",
        build=targets.detection,
    ),
    Task(
        token="<DENSE_REGION_CAPTION>",
        prompt="Locate the objects in the image, with their descriptions.",
        family="region",
        answer_kind="boxes",
        build=targets.dense_captions,
    ),
    Task(
        token="<REGION_PROPOSAL>",
        prompt="Locate the region proposals in the image.",
        family="region",
        answer_kind="proposals",
        build=targets.proposals,
    ),
    Task(
        token="<OCR>",
        prompt="What is the text in the image?",
        family="image",
        answer_kind="text",
        build=targets.ocr,
    ),
    Task(
        token="<OCR_WITH_REGION>",
        prompt="What is the text in the image, with regions?",
        family="region",
        answer_kind="quads",
        build=targets.ocr_with_quads,
    ),
    Task(
        token="<CAPTION_TO_PHRASE_GROUNDING>",
        prompt="Locate the phrases in the caption: {input}",
        family="alignment",
        answer_kind="phrases",
        build=targets.grounding,
    ),
    Task(
        token="<REFERRING_EXPRESSION_SEGMENTATION>",
        prompt="Locate {input} in the image with mask",
        family="alignment",
        answer_kind="polygons",
        build=targets.referring_masks,
    ),
    Task(
        token="<REGION_TO_SEGMENTATION>",
        prompt="What is the polygon mask of region {input}",
        family="region",
        answer_kind="polygons",
        build=targets.region_masks,
    ),
    Task(
        token="<OPEN_VOCABULARY_DETECTION>",
        prompt="Locate {input} in the image.",
        family="alignment",
        answer_kind="boxes_or_polygons",
        build=targets.open_vocabulary,
    ),
    Task(
        token="<REGION_TO_CATEGORY>",
        prompt="What is the region {input}?",
        family="region",
        answer_kind="region_text",
        build=targets.region_labels(targets.category),
    ),
    Task(
        token="<REGION_TO_DESCRIPTION>",
        prompt="What does the region {input} describe?",
        family="region",
        answer_kind="region_text",
        build=targets.region_labels(targets.description),
    ),
    Task(
        token="<REGION_TO_OCR>",
        prompt="What text is in the region {input}?",
        family="region",
        answer_kind="text",
        build=targets.region_ocr,
    ),
    Task(
        token="<REFERRING_EXPRESSION_COMPREHENSION>",
        prompt="Locate {input} in the image.",
        family="region",
        answer_kind="region_text",
        build=targets.referring_boxes,
    ),
    Task(
        token="<VQA>",
        prompt="{input}",
        family="image",
        answer_kind="text",
        build=targets.questions,
    ),
)

TASKS: dict[str, Task] = {task.token: task for task in _TABLE}
"""Every task by its token."""

TEXT_TASKS: dict[str, Granularity] = {
    "<CAPTION>": "brief",
    "<DETAILED_CAPTION>": "detailed",
    "<MORE_DETAILED_CAPTION>": "more_detailed",
}
"""Granularity of the text that each captioning task writes."""


def find_task(token: str) -> Task:
    """Return the task with this token.

    Raises:
        ValueError: there is no such task.
    """
    if token not in TASKS:
        raise ValueError(f"{token}: no such task; known: {', '.join(TASKS)}")
    return TASKS[token]


def check_tasks(setting: str, tokens: Iterable[str], known: Iterable[str] = TASKS) -> None:
    """Check that a setting names tasks only.

    Raises:
        ValueError: one is none of `known`; the message names the nearest one.
    """
    for token in tokens:
        if token in known:
            continue
        near = difflib.get_close_matches(token, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"{setting}: {token}: no such task; {hint}")
