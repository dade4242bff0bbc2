"""Greedy search: the likeliest token at every step, for a batch of questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.florence.decoder import Decoder
from stages.florence.forward import Encoded
from stages.florence.generation import Draft, GeneratedTokens, Question
from stages.florence.model import Florence
from stages.florence.token_scores import TokenScorer
from stages.florence.tokenizer import BOS

if TYPE_CHECKING:
    import torch

# Finished rows leave the batch only when they are at least this share of it, because leaving
# copies the caches.
_LEAVING_SHARE = 0.25


def greedy_search(
    florence: Florence,
    scorer: TokenScorer,
    encoded: Encoded,
    questions: Sequence[Question],
    centre: int = 0,
) -> list[GeneratedTokens]:
    """Return the answers to questions.

    Args:
        florence: the model.
        scorer: the rules of its vocabulary.
        encoded: the encoder's output, one row for each question.
        questions: what is asked.
        centre: bins over which locations are centred (`TokenScorer.centred_choice`); 0 is off.
    """
    import torch

    drafts = [Draft.empty(question) for question in questions]
    running = drafts  # the drafts of the decoder's rows; finished ones may still be among them
    decoder = Decoder(florence, encoded)
    ids = torch.full((len(running),), BOS, device=florence.device)
    while running:
        logits = decoder.step(ids)
        ids = _choose(scorer, logits, running, centre)
        for draft, token in zip(running, scorer.score(logits, ids), strict=True):
            if not draft.done:
                draft.push(token)
        stay = [row for row, draft in enumerate(running) if not draft.done]
        if len(stay) <= (1 - _LEAVING_SHARE) * len(running):
            rows = torch.tensor(stay, dtype=torch.long, device=ids.device)
            running = [running[row] for row in stay]
            ids = ids[rows]
            decoder.keep(rows, rows)
    return [draft.tokens for draft in drafts]


def _choose(
    scorer: TokenScorer,
    logits: torch.Tensor,
    drafts: Sequence[Draft],
    centre: int,
) -> torch.Tensor:
    """The next id (rows,) of every row."""
    allowed = scorer.mask_forbidden(logits, drafts)
    if centre:
        return scorer.centred_choice(logits, allowed, centre)
    return allowed.argmax(-1)
