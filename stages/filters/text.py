"""Drops texts that are empty, noisy or poor. In: texts with their parse. Out: the dropped ones.

Paper section 4.2 (after DiHT): too many objects mean noise; too little object or action complexity means a
text that says little of the image. The paper gives no values; these are meant for captions and can be set per
granularity.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from pipeline.schema import Annotations, Text
from stages.base import Batch, Result

EMPTY_TEXT = "empty_text"
TOO_MANY_OBJECTS = "too_many_objects"
LOW_OBJECT_COMPLEXITY = "low_object_complexity"
LOW_ACTION_COMPLEXITY = "low_action_complexity"
LOW_AGREEMENT = "low_agreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLimits:
    max_objects: int = 12
    min_object_complexity: int = 2
    min_action_complexity: int = 1
    min_agreement: float = (
        0.0  # share of words that the captioners of an ensemble must have in common
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFilterConfig:
    """Limits per granularity; the minima bound the most complex object (action) of the text."""

    brief: TextLimits = field(default_factory=TextLimits)
    detailed: TextLimits = field(default_factory=lambda: TextLimits(max_objects=40))
    more_detailed: TextLimits = field(default_factory=lambda: TextLimits(max_objects=80))
    alt: TextLimits = field(default_factory=TextLimits)


def drop_reason(text: Text, limits: TextLimits) -> str | None:
    if not text.text.strip():
        return EMPTY_TEXT
    if text.parse is None:
        raise ValueError(
            f"text {text.id!r} has no parse: put the stage `parse` before the text filter"
        )
    if len(text.parse.objects) > limits.max_objects:
        return TOO_MANY_OBJECTS
    if text.parse.object_complexity < limits.min_object_complexity:
        return LOW_OBJECT_COMPLEXITY
    if text.parse.action_complexity < limits.min_action_complexity:
        return LOW_ACTION_COMPLEXITY
    if text.agreement is not None and text.agreement < limits.min_agreement:
        return LOW_AGREEMENT
    return None


class TextFilter:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: TextFilterConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(texts=self._drop(sample.annotations.texts)) for sample in batch]

    def _drop(self, texts: list[Text]) -> list[Text]:
        reasons = [
            None if t.dropped or t.locked else drop_reason(t, getattr(self.config, t.granularity))
            for t in texts
        ]
        return [
            replace(t, dropped=reason) for t, reason in zip(texts, reasons, strict=True) if reason
        ]
