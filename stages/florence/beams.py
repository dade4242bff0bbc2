"""Beam search over a batch of questions, the way of `transformers` (length penalty 1, early stopping).

Every question holds `count` beams. A step ranks the 2 x `count` likeliest continuations: those that end and rank among
the first `count` are finished, the others go on. A question is done when it has `count` finished answers; the best by
mean log-probability (the forced `<s>` counted) is its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stages.florence.decoder import Decoder
from stages.florence.forward import BOS, Encoded

if TYPE_CHECKING:
    import torch

    from stages.florence.inference import Chosen, Draft, Engine, Question, Tokens

_DEAD = -1e9


@dataclass(slots=True)
class Beam:
    """A running answer, the sum of its log-probabilities, and its row in the tensors."""

    draft: Draft
    score: float
    row: int


@dataclass(slots=True)
class Search:
    """One question's beams and its finished answers, each with its mean log-probability."""

    beams: list[Beam]
    finished: list[tuple[float, Tokens]] = field(default_factory=list)


def decode(
    engine: Engine, encoded: Encoded, questions: Sequence[Question], count: int
) -> list[Tokens]:
    """The best answer to each question."""
    import torch

    searches = [
        Search(
            [
                Beam(engine.draft(question), 0.0 if b == 0 else _DEAD, i * count + b)
                for b in range(count)
            ]
        )
        for i, question in enumerate(questions)
    ]
    decoder = Decoder(engine.florence, encoded, width=count)
    ids = torch.full((len(questions) * count,), BOS, device=engine.florence.device)
    running = searches
    while running:
        logits = decoder.step(ids)
        for search, candidates in zip(
            running, _candidates(engine, logits, running, count), strict=True
        ):
            _advance(search, candidates, count)
        stay = [
            i for i, search in enumerate(running) if search.beams and len(search.finished) < count
        ]
        left = len(stay) < len(running)
        running = [running[i] for i in stay]
        beams = [beam for search in running for beam in search.beams]
        rows = torch.tensor([beam.row for beam in beams], dtype=torch.long, device=ids.device)
        decoder.keep(
            torch.tensor(stay, dtype=torch.long, device=ids.device) if left else None, rows
        )
        ids = torch.tensor(
            [beam.draft.tokens.ids[-1] for beam in beams], dtype=torch.long, device=ids.device
        )
        for row, beam in enumerate(beams):
            beam.row = row
    return [max(search.finished, key=lambda f: f[0])[1] for search in searches]


def _candidates(
    engine: Engine, logits: torch.Tensor, running: Sequence[Search], count: int
) -> list[list[Beam]]:
    """The likeliest continuations of each question, best first; a beam is as long as the step is old."""
    import torch

    beams = [beam for search in running for beam in search.beams]
    allowed = engine.allow(logits.log_softmax(-1), [beam.draft for beam in beams])
    totals = allowed + torch.tensor([beam.score for beam in beams], device=logits.device)[:, None]
    best, places = totals.view(len(running), -1).topk(2 * count)
    rows = (
        places // logits.shape[-1]
        + count * torch.arange(len(running), device=places.device)[:, None]
    )
    chosen = engine.weigh(logits[rows.flatten()], (places % logits.shape[-1]).flatten())
    parts = zip(best.flatten().tolist(), rows.flatten().tolist(), chosen, strict=True)
    grown = [_grown(beams[row], score, token) for score, row, token in parts]
    return [grown[i : i + 2 * count] for i in range(0, len(grown), 2 * count)]


def _grown(beam: Beam, score: float, chosen: Chosen) -> Beam:
    old, state = beam.draft.tokens, beam.draft.state
    tokens = replace(
        old, ids=list(old.ids), log_probs=list(old.log_probs), beliefs=list(old.beliefs)
    )
    draft = replace(beam.draft, tokens=tokens, state=None if state is None else replace(state))
    draft.push(chosen)
    return Beam(draft, score, beam.row)


def _advance(search: Search, candidates: Sequence[Beam], count: int) -> None:
    """Finishes the candidates that end and keeps the best of the others."""
    going: list[Beam] = []
    for rank, beam in enumerate(candidates):
        if not beam.draft.done:
            going.append(beam)
        elif rank < count:
            tokens = beam.draft.tokens
            search.finished.append((beam.score / (len(tokens.ids) + 1), tokens))
    search.finished = sorted(search.finished, key=lambda f: -f[0])[:count]
    search.beams = going[:count]
