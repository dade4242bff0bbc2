"""Answers as text, with the characters of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.florence.generation import GeneratedTokens
from stages.florence.model import Florence
from stages.florence.tokenizer import EOS

_INCOMPLETE = "\ufffd"  # what a decoder writes for the first bytes of a longer character


@dataclass(frozen=True, slots=True)
class AnswerText:
    """An answer as text, and how sure the model is of each part."""

    text: str
    """The answer without its end token."""

    spans: tuple[tuple[int, int], ...]
    """(start, end) in characters of each token; the end token's is empty."""

    beliefs: tuple[float, ...]
    """Belief in each token, in nats; see `GeneratedTokens.beliefs`."""

    def mean_belief(self, spans: Sequence[tuple[int, int]] | None = None) -> float:
        """Return the mean belief in the tokens that touch some characters, in nats.

        `spans` are (start, end) in characters; None takes all tokens. The end token never counts.
        The mean of no tokens is 0.
        """
        if spans is None:
            spans = [(0, len(self.text))]
        chosen = []
        for token, belief in zip(self.spans, self.beliefs, strict=True):
            if _touches(token, spans):
                chosen.append(belief)
        return sum(chosen) / len(chosen) if chosen else 0.0


def _touches(token: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    return any(token[0] < end and token[1] > start for start, end in spans)


def detokenise(florence: Florence, tokens: GeneratedTokens) -> AnswerText:
    """Return an answer as text. A character of several tokens belongs to the last of them."""
    text = ""
    spans: list[tuple[int, int]] = []
    pending: list[int] = []
    for token in tokens.ids:
        piece = ""
        if token != EOS:
            pending.append(token)
            piece = str(florence.tokenizer.decode(pending, skip_special_tokens=False))
            if piece.endswith(_INCOMPLETE):
                piece = ""
            else:
                pending = []
        spans.append((len(text), len(text) + len(piece)))
        text += piece
    return AnswerText(text, tuple(spans), tuple(tokens.beliefs))
