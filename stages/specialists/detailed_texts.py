"""Detailed texts by instruction: the prompts, and the reasons why an answer is dropped.

Paper section 4.3, "Text": detailed texts come from prompting large models. The paper does not print
its prompts; these are ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from pipeline.schema import Granularity
from stages.base import StageError

REFUSED = "refused"
CUT_OFF = "cut_off"
EMPTY_ANSWER = "empty_answer"

# The beginnings of a refusal, in lower case.
REFUSALS = (
    "i'm sorry",
    "i am sorry",
    "i cannot",
    "i can't",
    "i can not",
    "i'm unable",
    "i am unable",
    "as an ai",
)
PROMPTS: dict[str, str] = {
    "detailed": (
        "Describe the image in two to four plain sentences: "
        "its objects, their attributes and what they do."
    ),
    "more_detailed": (
        "Describe the image in one long paragraph: "
        "every object, its attributes, its place, what it does "
        "and how it relates to the others, and any text that can be read."
    ),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to a prompt, with the fields of OpenAI's chat completions."""

    content: str
    """The text of the answer."""

    finish_reason: str | None
    """Why the answer ends: `stop`, `length`, `content_filter`, or None if the server does not say.
    """

    refusal: str | None = None
    """The text of a refusal, if the server marks it as one."""


def check_prompts(granularities: Sequence[Granularity], prompts: Mapping[str, str]) -> None:
    """Checks that every granularity has a prompt; raises StageError if not."""
    lacking = [granularity for granularity in granularities if granularity not in prompts]
    if lacking:
        names = ", ".join(lacking)
        raise StageError(f"prompts has none for {names}: add them or leave the granularities out")


def check_prompt_names(prompts: Mapping[str, str]) -> None:
    """Checks that every prompt is for a granularity.

    Raises:
        ValueError: one is for something else; the message names the nearest granularity.
    """
    granularities = get_args(Granularity)
    for name in prompts:
        if name not in granularities:
            near = difflib.get_close_matches(name, granularities, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(granularities)}"
            raise ValueError(f"prompts.{name}: no such granularity; {hint}")


def prompts_without_effect(
    granularities: Sequence[Granularity], prompts: Mapping[str, str]
) -> Iterator[str]:
    """A warning for each prompt of one's own that is for a granularity which is not asked for."""
    for name, prompt in prompts.items():
        if name not in granularities and prompt != PROMPTS.get(name):
            yield f"prompts.{name}: no effect: granularities does not have {name}; add it"


def judge(answer: Answer) -> tuple[str, str | None]:
    """The text of an answer, and the reason to drop it (None for a good answer)."""
    text = answer.content.strip()
    # Some models write a typographic apostrophe.
    beginning = text.lower().replace("\u2019", "'")
    if answer.refusal or beginning.startswith(REFUSALS):
        return text or answer.refusal or "", REFUSED
    if answer.finish_reason == "content_filter":
        return text, REFUSED
    if answer.finish_reason == "length":
        return text, CUT_OFF
    if not text:
        return text, EMPTY_ANSWER
    return text, None
