"""Sweeps (`fld run -m`): one run for every combination of the values a=1,2 b=x,y.

The commas of lists, maps and quoted texts separate no runs: a=[1,2],[3] has two values. Each run
has a work folder of its own below `work`, named after its values, so the same command resumes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

OPEN, CLOSE, QUOTES = "[{(", "]})", "'\""


@dataclass(frozen=True, slots=True)
class SweptRun:
    """One run of a sweep."""

    name: str
    """Its values, as `a=1,b=x`: the name of its work folder below `work`."""
    overrides: tuple[str, ...]
    """The words of the command line, with this run's values."""


def expand(overrides: Sequence[str]) -> list[SweptRun]:
    """Every run of a sweep, the last word changing fastest.

    Raises:
        ValueError: no word has several values, or two runs would share a work folder.
    """
    choices = [_choices(word) for word in overrides]
    swept = [len(words) > 1 for words in choices]
    if not any(swept):
        raise ValueError("-m: nothing to sweep; give several values to a setting, such as a=1,2")
    runs = []
    for words in itertools.product(*choices):
        varied = [word for word, varies in zip(words, swept, strict=True) if varies]
        runs.append(SweptRun(_name(varied), words))
    if len({run.name for run in runs}) < len(runs):
        raise ValueError("-m: two runs would have the same work folder; give each value once")
    return runs


def is_swept(overrides: Sequence[str], name: str) -> bool:
    """Whether a sweep gives setting `name` several values."""
    return any(word.partition("=")[0] == name and len(_choices(word)) > 1 for word in overrides)


def split_values(text: str) -> list[str]:
    """The values between commas that stand in no brackets and no quotes."""
    values = [""]
    depth, quote = 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES and not values[-1].strip():
            # An apostrophe within a text is none.
            quote = character
        elif character in OPEN:
            depth += 1
        elif character in CLOSE:
            depth = max(0, depth - 1)
        if character == "," and depth == 0 and not quote:
            values.append("")
        else:
            values[-1] += character
    return values


def _choices(word: str) -> list[str]:
    """The words that one word stands for."""
    key, equals, value = word.partition("=")
    return [f"{key}{equals}{choice.strip()}" for choice in split_values(value)]


def _name(words: Sequence[str]) -> str:
    """A name for a folder, also in an object store."""
    safe = (re.sub(r"[^\w.=+-]+", "_", word).strip("_") for word in words)
    return ",".join(safe)
