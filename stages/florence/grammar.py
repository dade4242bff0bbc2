"""Which tokens may come next, so that answers are well formed: never a lone coordinate, no location inside a
label.

A state is kept per row as plain integers, so that a step is one masked fill over the vocabulary whatever the
tasks. Kinds of tokens: text, location, end, separator (`<sep>`), poly (`<poly>`), unpoly (`</poly>`), other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.florence.codec import BINS
from stages.florence.forward import EOS
from stages.florence.model import token_id
from stages.florence.tasks import GROUPS, Answer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

TEXT, LOCATION, END, SEPARATOR, POLY, UNPOLY, OTHER = range(7)
_KINDS = 7


@dataclass(frozen=True, slots=True)
class Rule:
    """`group` locations make one place; `label` says whether one must, may or cannot precede them; `once`:
    the answer ends after one place."""

    group: int
    label: bool
    outlines: bool = False
    once: bool = False


RULES: dict[Answer, Rule | None] = {
    "text": None,
    "boxes": Rule(GROUPS["boxes"], label=True),
    "phrases": Rule(GROUPS["phrases"], label=True),
    "region_text": Rule(GROUPS["region_text"], label=True, once=True),
    "boxes_or_polygons": Rule(GROUPS["boxes_or_polygons"], label=True, outlines=True),
    "proposals": Rule(GROUPS["proposals"], label=False),
    "quads": Rule(GROUPS["quads"], label=True),
    "polygons": Rule(GROUPS["polygons"], label=False, outlines=True),
}


@dataclass(slots=True)
class State:
    """Where a row stands: locations since the last break, whether a label is open, whether an outline is
    open."""

    answer: Answer
    locations: int = 0
    labelled: bool = False
    polygon: bool = False

    def allowed(self) -> set[int]:
        rule = RULES[self.answer]
        if rule is None:
            return {TEXT, END}
        group = 2 if self.polygon else rule.group
        if self.locations % group:
            return {LOCATION}
        if rule.once and self.locations:
            return {END}
        if self.polygon:
            return {LOCATION, SEPARATOR, UNPOLY} if self.locations >= 6 else {LOCATION}
        if self.labelled:
            return {TEXT, LOCATION, POLY} if rule.outlines else {TEXT, LOCATION}
        if rule.label:
            return {TEXT, LOCATION, END} if self.locations else {TEXT, END}
        if rule.outlines and self.locations:
            return {LOCATION, END, SEPARATOR} if self.locations >= 6 else {LOCATION}
        return {LOCATION, END}

    def push(self, kind: int) -> None:
        if kind == LOCATION:
            self.locations += 1
            self.labelled = False
        elif kind == TEXT:
            self.labelled, self.locations = True, 0
        elif kind in (SEPARATOR, POLY, UNPOLY):
            self.locations, self.labelled = 0, False
            self.polygon = kind == POLY or (kind == SEPARATOR and self.polygon)


def token_kinds(tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> torch.Tensor:
    """The kind of every token; ids that the tokenizer lacks are `OTHER`."""
    import torch

    kinds = torch.full((vocabulary,), OTHER)
    kinds[: token_id(tokenizer, "<od>")] = TEXT
    kinds[tokenizer.all_special_ids] = OTHER
    first = token_id(tokenizer, "<loc_0>")
    kinds[first : first + BINS] = LOCATION
    for kind, token in ((SEPARATOR, "<sep>"), (POLY, "<poly>"), (UNPOLY, "</poly>")):
        kinds[token_id(tokenizer, token)] = kind
    kinds[EOS] = END
    return kinds


def forbidden(states: Sequence[State], kinds: torch.Tensor) -> torch.Tensor:
    """(rows, vocabulary): true where a token may not come next."""
    import torch

    table = torch.ones((len(states), _KINDS), dtype=torch.bool)
    for row, state in enumerate(states):
        table[row, list(state.allowed())] = False
    return table.to(kinds.device)[:, kinds]


def repeating(ids: Sequence[int], length: int) -> list[int]:
    """The tokens that would make the last `length` of `ids` a repetition; 0 is off (`no_repeat_ngram_size`)."""
    if length < 1 or len(ids) < length:
        return []
    last = list(ids[len(ids) - length + 1 :])
    return [
        ids[i + length - 1]
        for i in range(len(ids) - length + 1)
        if list(ids[i : i + length - 1]) == last
    ]
