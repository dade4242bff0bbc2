"""Beam search over a batch of questions, the way of `transformers` (length penalty 1, early stopping).

Every question holds `count` beams. A step ranks the 2 x `count` likeliest continuations: those that end and rank among
the first `count` are finished, the others go on. A question is done when it has `count` finished answers; the best by
mean log-probability (the forced `<s>` counted) is its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stages.florence import grammar
from stages.florence.forward import BOS, EOS, START, Encoded

if TYPE_CHECKING:
    import torch

    from stages.florence.inference import Engine, Question, Tokens

_DEAD = -1e9


@dataclass(slots=True)
class Beam:
    """A running answer: its tokens, the sum of their log-probabilities, its row in the tensors, its grammar."""

    tokens: Tokens
    score: float
    row: int
    state: grammar.State | None


@dataclass(slots=True)
class Search:
    """One question's beams and its finished answers, each with its mean log-probability."""

    question: Question
    beams: list[Beam]
    finished: list[tuple[float, Tokens]] = field(default_factory=list)


def decode(engine: Engine, encoded: Encoded, questions: Sequence[Question], count: int) -> list[Tokens]:
    """The best answer to each question."""
    import torch
    from transformers.cache_utils import DynamicCache, EncoderDecoderCache

    from stages.florence.inference import Tokens

    device = engine.florence.device
    searches = [
        Search(q, [
            Beam(Tokens(), 0.0 if b == 0 else _DEAD, i * count + b, grammar.State(q.answer) if q.answer else None)
            for b in range(count)
        ])
        for i, q in enumerate(questions)
    ]  # fmt: skip
    encoded = encoded.select(torch.arange(len(questions), device=device).repeat_interleave(count))
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    inputs = torch.tensor([[START, BOS]], device=device).repeat(len(questions) * count, 1)
    running = list(searches)
    while running:
        logits = engine.step(inputs, encoded, cache)
        for search, candidates in zip(running, _candidates(engine, logits, running, count), strict=True):
            _advance(search, candidates, count)
        running = [search for search in running if search.beams and len(search.finished) < count]
        rows = torch.tensor([b.row for s in running for b in s.beams], dtype=torch.long, device=device)
        cache.batch_select_indices(rows)
        encoded = encoded.select(rows)
        inputs = torch.tensor([[b.tokens.ids[-1]] for s in running for b in s.beams], device=device)
        for row, beam in enumerate(b for s in running for b in s.beams):
            beam.row = row
    return [max(search.finished, key=lambda f: f[0])[1] for search in searches]


def _candidates(engine: Engine, logits: torch.Tensor, running: Sequence[Search], count: int) -> list[list[Beam]]:
    """The likeliest continuations of each question, best first; a beam is as long as the step is old."""
    import torch

    beams = [beam for search in running for beam in search.beams]
    short = [len(b.tokens.ids) + 1 < s.question.min_tokens for s in running for b in s.beams]
    allowed = engine.allow(logits.log_softmax(-1), [b.state for b in beams], short)
    totals = allowed + torch.tensor([b.score for b in beams], device=logits.device)[:, None]
    best, places = totals.view(len(running), -1).topk(2 * count)
    rows = places // logits.shape[-1] + count * torch.arange(len(running), device=places.device)[:, None]
    chosen = (places % logits.shape[-1]).flatten()
    weights = zip(*engine.weigh(logits[rows.flatten()], chosen), strict=True)
    kinds = engine.kinds[chosen].tolist()
    parts = zip(best.flatten().tolist(), rows.flatten().tolist(), chosen.tolist(), kinds, weights, strict=True)
    grown = [_grown(beams[row], score, token, kind, weight) for score, row, token, kind, weight in parts]
    return [grown[i : i + 2 * count] for i in range(0, len(grown), 2 * count)]


def _grown(beam: Beam, score: float, token: int, kind: int, weight: tuple[float, float]) -> Beam:
    old = beam.tokens
    tokens = replace(
        old,
        ids=[*old.ids, token],
        log_probs=[*old.log_probs, weight[0]],
        beliefs=[*old.beliefs, weight[1]],
    )
    state = None if beam.state is None else replace(beam.state)
    if state is not None:
        state.push(kind)
    return Beam(tokens, score, beam.row, state)


def _advance(search: Search, candidates: Sequence[Beam], count: int) -> None:
    """Finishes the candidates that end and keeps the best of the others."""
    going: list[Beam] = []
    for rank, beam in enumerate(candidates):
        length = len(beam.tokens.ids)
        ends = beam.tokens.ids[-1] == EOS or length >= search.question.max_tokens
        if not ends:
            going.append(beam)
        elif rank < count:
            search.finished.append((beam.score / (length + 1), beam.tokens))
    search.finished = sorted(search.finished, key=lambda f: -f[0])[:count]
    search.beams = going[:count]
