"""A trained Florence-2 annotates anew and judges the labels that it is shown.

In: images and the kept annotations of the round before. Out, for each image:

(a) The model's own annotations, as far as `tasks` go: texts; regions from object detection and from
    dense captions (each finds some that the other misses; a missing category or description is
    asked for); text regions; phrases of the shown texts with their boxes. `score` is the
    exponential of the mean belief in an annotation's tokens; of a phrase, in its locations only.
(b) Shown annotations that a task of `support` covers, with `support`: the mean belief in the tokens
    of the label when the model is asked that task's question. If several tasks judge a label (a
    region's category and description), the lowest counts. Own regions are judged, too.

The belief in a word is its log-probability. The belief in a location sums all locations within 2%
of the image. With `folds`, a model looks only at the samples of its fold, which were left out of
its training. Florence-2 paper, section 4.2, "iterative data refinement".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from pipeline.schema import Annotation, Annotations, Granularity, Region
from stages.base import CONTENT, Batch, Result, Sample, fold_of, no_effect, thread_count
from stages.florence import codec
from stages.florence.answers import label_support
from stages.florence.detokenise import detokenise
from stages.florence.generation import Question
from stages.florence.inference import FlorenceInference, GivenAnswer
from stages.florence.limits import Limits, limits_in, limits_of
from stages.florence.revisions import (
    CATEGORY,
    DENSE,
    DESCRIPTION,
    DETECTION,
    GROUNDING,
    OCR,
    AnnotationQuestion,
    AnsweredQuestion,
    join_results,
    new_annotations,
    with_own_regions,
    with_requested_labels,
    with_support,
)
from stages.florence.tasks import TASKS, TEXT_TASKS, Example, check_tasks, find_task
from stages.florence.unreviewed import as_if_unreviewed, with_reviewed_dropped
from stages.ranges import Share

if TYPE_CHECKING:
    import torch

ANNOTATING = (*TEXT_TASKS, DETECTION, DENSE, GROUNDING, OCR)
"""Tasks whose answers become annotations."""

GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """What the model annotates and judges, and how it decodes."""

    model: str = field(metadata=CONTENT)
    """Checkpoint: a folder, a hub name, or `nano`."""

    tasks: tuple[str, ...] = ("<CAPTION>", DETECTION, DENSE, GROUNDING)
    """Tasks whose answers become annotations."""

    support: tuple[str, ...] = ("<CAPTION>", CATEGORY, DESCRIPTION, GROUNDING)
    """Tasks whose targets judge the shown labels."""

    ground: tuple[Granularity, ...] = ("brief",)
    """Granularities of the texts whose phrases are grounded and judged."""

    missing: tuple[Granularity, ...] = ()
    """Granularities of texts that are written only for images without one."""

    fresh: bool = False
    """Whether only texts of this round are grounded."""

    resolution: int = 768
    """Side of the square image that the model sees, in pixels."""

    max_tokens: int = 256
    """Most tokens of a prompt, and of an answer."""

    rows: int = 128
    """Questions that are decoded at the same time."""

    beams: int = 1
    """Beams of each question; 1 decodes greedily."""

    same_place: Share = 0.5
    """IoU from which a dense caption describes a detected box."""

    centre: int = 80
    """Each location of a greedy answer moves to the mean of the belief within so many bins (of 1000
    along a side); 0 is off. A model that learned from jittered boxes gives a likeliest bin that is
    a draw from the jitter; their mean is not."""

    fold: int = 0
    """Number of the fold that this model annotates, from 0."""

    folds: int = 1
    """Number of equal parts that the samples are divided into, by their keys."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; `auto` is the GPU if there is one."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the weights."""

    def __post_init__(self) -> None:
        for token in self.tasks:
            if token in TASKS and token not in ANNOTATING:
                known = ", ".join(ANNOTATING)
                raise ValueError(f"tasks: {token} makes no annotation; known: {known}")
        check_tasks("tasks", self.tasks, ANNOTATING)
        check_tasks("support", self.support)
        for name, known_names in (("ground", GRANULARITIES), ("missing", TEXT_TASKS.values())):
            for granularity in getattr(self, name):
                if granularity not in known_names:
                    raise ValueError(f"{name}: {granularity}; known: {', '.join(known_names)}")
        if not 0 <= self.fold < self.folds:
            raise ValueError(f"fold={self.fold}: the folds are 0 to {self.folds - 1}")

    def without_effect(self) -> Iterator[str]:
        if self.beams > 1:
            reason = f"only greedy answers are centred; set beams=1 (now {self.beams})"
            yield from no_effect(self, ("centre",), reason)
        elif not {DETECTION, DENSE, GROUNDING, OCR} & set(self.tasks):
            reason = "no task of `tasks` answers with places"
            yield from no_effect(self, ("centre",), reason)
        if GROUNDING not in (*self.tasks, *self.support):
            reason = f"neither tasks nor support has {GROUNDING}; add it"
            yield from no_effect(self, ("ground",), reason)
        if GROUNDING not in self.tasks:
            reason = f"tasks does not have {GROUNDING}; add it"
            yield from no_effect(self, ("fresh",), reason)
        if not {DETECTION, DENSE} <= set(self.tasks):
            reason = f"it needs both {DETECTION} and {DENSE} in tasks"
            yield from no_effect(self, ("same_place",), reason)
        for token, granularity in TEXT_TASKS.items():
            if token in self.tasks and granularity in self.missing:
                reason = f"tasks has {token}, which writes such a text for every image"
                yield f"missing={granularity}: no effect: {reason}"


def _check_limits(limits: Limits, config: RefineConfig) -> None:
    limits.check_resolution("resolution", config.resolution)
    limits.check_prompt("max_tokens", config.max_tokens, config.resolution)
    limits.check_answer("max_tokens", config.max_tokens)


class Refine:
    """The stage."""

    version: ClassVar[int] = 6
    reads_images: ClassVar[bool] = True

    def __init__(self, config: RefineConfig) -> None:
        import torch

        from stages.florence.model import load, move_to_device

        self.check(config)
        torch.set_num_threads(thread_count())
        florence = load(config.model)
        # Of a hub model they are known only now.
        _check_limits(limits_in(config.model, florence.model.config.to_dict()), config)
        move_to_device(florence, config.device, config.dtype)
        self.config = config
        self.inference = FlorenceInference(
            florence,
            config.resolution,
            rows=config.rows,
            beams=config.beams,
            max_prompt_tokens=config.max_tokens,
            centre=config.centre,
        )

    @staticmethod
    def check(config: RefineConfig) -> None:
        """See `stages.base.Stage`."""
        if not config.model:
            raise ValueError("model: not set; give a folder or a hub name")
        limits = limits_of(config.model)
        if limits is not None:
            _check_limits(limits, config)

    def __call__(self, batch: Batch) -> list[Result]:
        """Return the new and revised annotations of each sample; empty ones outside the fold."""
        config = self.config
        in_fold = []
        for i, sample in enumerate(batch):
            if fold_of(sample.key, config.folds) == config.fold:
                in_fold.append(i)
        results: list[Result] = [Annotations() for _ in batch]
        if in_fold:
            refined = self._refine([batch[i] for i in in_fold])
            for i, result in zip(in_fold, refined, strict=True):
                results[i] = result
        return results

    def _refine(self, batch: Batch) -> Iterator[Annotations]:
        shown = [as_if_unreviewed(sample.annotations).kept() for sample in batch]
        features = self.inference.encode_images([sample.pixels for sample in batch])

        asked: list[AnnotationQuestion] = []
        for i, sample in enumerate(batch):
            asked += self._image_questions(i, sample, shown[i])
        answered = self._answers(features, asked)
        own = []
        for i, sample in enumerate(batch):
            own.append(new_annotations(answered[i], sample.size, self.config.same_place))

        asked = []
        for i, sample in enumerate(batch):
            asked += self._region_questions(i, sample.size, own[i])
        answered = self._answers(features, asked)
        own = [with_requested_labels(own[i], answered[i]) for i in range(len(batch))]

        judged = [with_own_regions(shown[i], own[i]) for i in range(len(batch))]
        support = self._support(features, [sample.size for sample in batch], judged)
        for i, sample in enumerate(batch):
            result = join_results(with_support(judged[i], support[i]), own[i])
            yield with_reviewed_dropped(result, sample.annotations)

    def _answers(
        self,
        features: torch.Tensor,
        asked: Sequence[AnnotationQuestion],
    ) -> list[list[AnsweredQuestion]]:
        """Ask questions; the answers are grouped by image."""
        tokens = self.inference.answer(features, [item.question for item in asked])
        answered: list[list[AnsweredQuestion]] = [[] for _ in range(len(features))]
        for item, answer_tokens in zip(asked, tokens, strict=True):
            answer = detokenise(self.inference.florence, answer_tokens)
            answered[item.question.image].append(AnsweredQuestion(item.task, item.about, answer))
        return answered

    def _question(
        self,
        token: str,
        image: int,
        about: Annotation | None,
        prompt_input: str = "",
    ) -> AnnotationQuestion:
        task = find_task(token)
        prompt = task.prompt.format(input=prompt_input)
        question = Question(image, prompt, task.answer_kind, self.config.max_tokens)
        return AnnotationQuestion(token, about, question)

    def _image_questions(
        self,
        image: int,
        sample: Sample,
        shown: Annotations,
    ) -> list[AnnotationQuestion]:
        """What is asked about the whole image, and about the texts to ground."""
        config = self.config
        asked = []
        for token in config.tasks:
            if token != GROUNDING:
                asked.append(self._question(token, image, None))
        present = {text.granularity for text in shown.texts}
        for token, granularity in TEXT_TASKS.items():
            if granularity in config.missing and granularity not in present:
                asked.append(self._question(token, image, None))
        if GROUNDING in config.tasks:
            for text in shown.texts:
                is_due = sample.fresh(text) or not config.fresh
                if text.granularity in config.ground and is_due:
                    caption = codec.clean_label(text.text)
                    asked.append(self._question(GROUNDING, image, text, caption))
        return asked

    def _region_questions(
        self,
        image: int,
        size: codec.Size,
        own: Annotations,
    ) -> list[AnnotationQuestion]:
        """What own regions are asked for: a missing category, and a missing description."""
        asked: list[AnnotationQuestion] = []

        def ask(token: str, region: Region) -> None:
            box = codec.location_tokens(region.box, size)
            asked.append(self._question(token, image, region, box))

        for region in own.regions:
            if not region.phrase:
                ask(CATEGORY, region)
        if DESCRIPTION in self.config.support:
            for region in own.regions:
                if region.brief_kind == "phrase":
                    ask(DESCRIPTION, region)
        return asked

    def _support(
        self,
        features: torch.Tensor,
        sizes: Sequence[codec.Size],
        judged: Sequence[Annotations],
    ) -> list[dict[str, float]]:
        """The support of the annotations that a task of `support` covers, by id, for each image.

        If several tasks judge an annotation, the lowest support counts: a region is as good as the
        worse of its category and its description.
        """
        given: list[GivenAnswer] = []
        examples: list[Example] = []
        for i, size in enumerate(sizes):
            for token in self.config.support:
                covered = self._covered(token, judged[i])
                for example in find_task(token).examples(covered, size):
                    given.append(GivenAnswer(i, example.prompt, example.target))
                    examples.append(example)
        scored = self.inference.score_answers(features, given, self.config.max_tokens)
        support: list[dict[str, float]] = [{} for _ in judged]
        for answer, example, tokens in zip(given, examples, scored, strict=True):
            lowest = support[answer.image]
            text = detokenise(self.inference.florence, tokens)
            for annotation_id, value in label_support(example, text).items():
                lowest[annotation_id] = min(value, lowest.get(annotation_id, 0.0))
        return support

    def _covered(self, token: str, annotations: Annotations) -> Annotations:
        """What a task judges: grounding judges only phrases of texts that are grounded."""
        if token != GROUNDING:
            return annotations
        texts = [text for text in annotations.texts if text.granularity in self.config.ground]
        return replace(annotations, texts=texts)
