"""Drops texts that are empty, noisy or poor. In: texts with their parse. Out: the dropped ones.

Paper section 4.2, after DiHT (Radenovic et al., CVPR 2023): a text with too many objects is noise;
one whose objects or actions have too little complexity says little of the image. The paper gives
no values; the defaults are meant for captions and can be set for each granularity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pipeline.schema import Annotations, Text
from stages.base import Batch, Result
from stages.ranges import Count, Share

EMPTY_TEXT = "empty_text"
TOO_MANY_OBJECTS = "too_many_objects"
LOW_OBJECT_COMPLEXITY = "low_object_complexity"
LOW_ACTION_COMPLEXITY = "low_action_complexity"
LOW_AGREEMENT = "low_agreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLimits:
    max_objects: Count = 12
    """Most objects (nouns) in a text."""

    min_object_complexity: Count = 2
    """Least complexity of the most complex object: its edges in the dependency tree."""

    min_action_complexity: Count = 1
    """Least complexity of the most complex action: its edges in the dependency tree."""

    min_agreement: Share = 0.0
    """Least share of words that the captioners of an ensemble have in common, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFilterConfig:
    brief: TextLimits = field(default_factory=TextLimits)
    """Limits of brief texts."""

    detailed: TextLimits = field(default_factory=lambda: TextLimits(max_objects=40))
    """Limits of detailed texts."""

    more_detailed: TextLimits = field(default_factory=lambda: TextLimits(max_objects=80))
    """Limits of more detailed texts."""

    alt: TextLimits = field(default_factory=TextLimits)
    """Limits of alt-texts, which come from the source."""


def drop_reason(text: Text, limits: TextLimits) -> str | None:
    """Why a text is dropped; None if it is kept.

    Raises:
        ValueError: the text has no parse.
    """
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
    """Marks texts as dropped; human texts are never dropped."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("parsed_texts",)
    gives: ClassVar[tuple[str, ...]] = ()
    drops: ClassVar[tuple[str, ...]] = ("texts",)
    decided_by: ClassVar[Mapping[str, str]] = {
        TOO_MANY_OBJECTS: "max_objects",
        LOW_OBJECT_COMPLEXITY: "min_object_complexity",
        LOW_ACTION_COMPLEXITY: "min_action_complexity",
        LOW_AGREEMENT: "min_agreement",
    }

    def __init__(self, config: TextFilterConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [dropped_texts(sample.annotations.texts, self._reason) for sample in batch]

    def _reason(self, text: Text) -> str | None:
        # A label is a name and no sentence, so no limit is meant for it.
        if text.granularity == "label":
            return None
        return drop_reason(text, getattr(self.config, text.granularity))


def dropped_texts(texts: Iterable[Text], reason_of: Callable[[Text], str | None]) -> Annotations:
    """The kept texts of machines for which `reason_of` gives a reason, marked as dropped by it."""
    dropped = []
    for text in texts:
        reason = None if text.dropped or text.locked else reason_of(text)
        if reason:
            dropped.append(replace(text, dropped=reason))
    return Annotations(texts=dropped)
