"""The settings of the stage `florence`: what the model annotates and judges, and how it decodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from pipeline.schema import Granularity
from stages.base import CONTENT, no_effect
from stages.florence.revisions import CATEGORY, DENSE, DESCRIPTION, DETECTION, GROUNDING, OCR
from stages.florence.tasks import TASKS, TEXT_TASKS, check_tasks
from stages.ranges import Share

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
