"""Which tokens may come next, so that answers are well formed.

No coordinate stands alone, and no location stands inside a label. The state of each row is a few
plain integers, so that a step is one masked fill over the vocabulary whatever the tasks are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.florence.codec import BINS
from stages.florence.tasks import LOCATIONS_PER_PLACE, AnswerKind
from stages.florence.tokenizer import EOS, token_id

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

# Kinds of tokens: SEPARATOR is `<sep>`, POLY is `<poly>`, UNPOLY is `</poly>`.
TEXT, LOCATION, END, SEPARATOR, POLY, UNPOLY, OTHER = range(7)
_KINDS = 7
_MIN_OUTLINE = 6  # locations of the smallest outline: three points
_VERTEX = 2  # locations of one vertex


@dataclass(frozen=True, slots=True)
class GrammarRule:
    """The form of one kind of answer."""

    group: int
    """Number of locations that make one place."""

    label: bool
    """Whether a label must come before the places; if not, none may."""

    outlines: bool = False
    """Whether places may be outlines."""

    once: bool = False
    """Whether the answer ends after one place."""


def _rule(kind: AnswerKind, label: bool, outlines: bool = False, once: bool = False) -> GrammarRule:
    return GrammarRule(LOCATIONS_PER_PLACE[kind], label, outlines, once)


RULES: dict[AnswerKind, GrammarRule | None] = {
    "text": None,
    "boxes": _rule("boxes", label=True),
    "phrases": _rule("phrases", label=True),
    "region_text": _rule("region_text", label=True, once=True),
    "boxes_or_polygons": _rule("boxes_or_polygons", label=True, outlines=True),
    "proposals": _rule("proposals", label=False),
    "quads": _rule("quads", label=True),
    "polygons": _rule("polygons", label=False, outlines=True),
}
"""Form of each kind of answer; None is free text without locations."""


@dataclass(slots=True)
class GrammarState:
    """Where a row stands in its answer."""

    answer_kind: AnswerKind
    """Kind of the answer, which decides its rule."""

    locations: int = 0
    """Number of locations since the last label, separator or polygon mark."""

    in_label: bool = False
    """Whether the last tokens are a label."""

    in_polygon: bool = False
    """Whether a `<poly>` is open."""

    def allowed(self) -> set[int]:
        """Return the kinds of tokens that may come next."""
        rule = RULES[self.answer_kind]
        if rule is None:
            return {TEXT, END}
        group = _VERTEX if self.in_polygon else rule.group
        if self.locations % group:
            return {LOCATION}
        if rule.once and self.locations:
            return {END}
        if self.in_polygon:
            if self.locations < _MIN_OUTLINE:
                return {LOCATION}
            return {LOCATION, SEPARATOR, UNPOLY}
        if self.in_label:
            return {TEXT, LOCATION, POLY} if rule.outlines else {TEXT, LOCATION}
        if rule.label:
            return {TEXT, LOCATION, END} if self.locations else {TEXT, END}
        if rule.outlines and self.locations:
            if self.locations < _MIN_OUTLINE:
                return {LOCATION}
            return {LOCATION, END, SEPARATOR}
        return {LOCATION, END}

    def push(self, kind: int) -> None:
        """Take a token of this kind."""
        if kind == LOCATION:
            self.locations += 1
            self.in_label = False
        elif kind == TEXT:
            self.in_label = True
            self.locations = 0
        elif kind in (SEPARATOR, POLY, UNPOLY):
            self.in_label = False
            self.locations = 0
            # A separator parts the outlines of one polygon, so it leaves the polygon open.
            if kind != SEPARATOR:
                self.in_polygon = kind == POLY


def token_kinds(tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> torch.Tensor:
    """Return the kind of every token: (vocabulary,), int64.

    Ids that the tokenizer does not use are `OTHER`.
    """
    import torch

    kinds = torch.full((vocabulary,), OTHER)
    kinds[: token_id(tokenizer, "<od>")] = TEXT
    kinds[tokenizer.all_special_ids] = OTHER
    first = token_id(tokenizer, "<loc_0>")
    kinds[first : first + BINS] = LOCATION
    kinds[token_id(tokenizer, "<sep>")] = SEPARATOR
    kinds[token_id(tokenizer, "<poly>")] = POLY
    kinds[token_id(tokenizer, "</poly>")] = UNPOLY
    kinds[EOS] = END
    return kinds


def forbidden_tokens(states: Sequence[GrammarState], kinds: torch.Tensor) -> torch.Tensor:
    """Return which tokens may not come next in each row: (rows, vocabulary), bool.

    `kinds` is the result of `token_kinds`.
    """
    import torch

    table = torch.ones((len(states), _KINDS), dtype=torch.bool)
    for row, state in enumerate(states):
        table[row, list(state.allowed())] = False
    return table.to(kinds.device)[:, kinds]


def repeating_tokens(ids: Sequence[int], length: int) -> list[int]:
    """Return the tokens that would repeat an n-gram of `length` tokens.

    This is `no_repeat_ngram_size` of `transformers`; a length of 0 forbids nothing.
    """
    if length < 1 or len(ids) < length:
        return []
    last = list(ids[len(ids) - length + 1 :])
    repeating = []
    for i in range(len(ids) - length + 1):
        if list(ids[i : i + length - 1]) == last:
            repeating.append(ids[i + length - 1])
    return repeating
