"""Texts in the form in which they are compared."""

from __future__ import annotations

import re
from functools import lru_cache

_PUNCTUATION = re.compile(r"[^\w\s]|_")
_ARTICLE = re.compile(r"^(a|an|the) ")


# The same labels come again and again, so the last ones are remembered.
@lru_cache(maxsize=1 << 14)
def normalise(text: str) -> str:
    """Lower case, without punctuation, with single spaces."""
    return " ".join(_PUNCTUATION.sub(" ", text.casefold()).split())


def bare_phrase(phrase: str) -> str:
    """The normalised phrase without a leading article."""
    return _ARTICLE.sub("", normalise(phrase))


def letters(text: str) -> str:
    """Only the letters and digits, in lower case."""
    return "".join(character for character in text.casefold() if character.isalnum())


def word_count(text: str) -> int:
    """How many words a text has without its punctuation, as `Parse.tokens` counts them."""
    return len(normalise(text).split())
