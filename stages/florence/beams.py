"""Beam search over a batch of questions, as in `transformers` (length penalty 1, early stopping).

Every question holds `width` beams. A step ranks the 2 x `width` likeliest continuations. Those that
end and rank among the first `width` are finished, the others go on. A question is done when it has
`width` finished answers. Its answer is the one with the best mean log-probability; the forced `<s>`
counts in its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stages.florence.decoder import Decoder
from stages.florence.forward import Encoded
from stages.florence.generation import Draft, GeneratedTokens, Question, ScoredToken
from stages.florence.model import Florence
from stages.florence.token_scores import TokenScorer
from stages.florence.tokenizer import BOS

if TYPE_CHECKING:
    import torch

# At first all beams of a question are equal, so all but one get this score.
_DEAD = -1e9


@dataclass(slots=True)
class Beam:
    """A running answer."""

    draft: Draft
    """The answer so far."""

    score: float
    """Sum of its log-probabilities, in nats."""

    row: int
    """Its row in the decoder."""


@dataclass(slots=True)
class FinishedAnswer:
    """An answer that has ended."""

    score: float
    """Mean log-probability of its tokens, in nats."""

    tokens: GeneratedTokens
    """The answer."""


@dataclass(slots=True)
class BeamSearch:
    """The search for the answer to one question."""

    beams: list[Beam]
    """Running answers, the best first."""

    finished: list[FinishedAnswer] = field(default_factory=list)
    """Ended answers, the best first."""


def beam_search(
    florence: Florence,
    scorer: TokenScorer,
    encoded: Encoded,
    questions: Sequence[Question],
    width: int,
) -> list[GeneratedTokens]:
    """Return the best answer to each question.

    Args:
        florence: the model.
        scorer: the rules of its vocabulary.
        encoded: the encoder's output, one row for each question.
        questions: what is asked.
        width: number of beams of each question.
    """
    import torch

    device = florence.device
    searches = [_start(question, i, width) for i, question in enumerate(questions)]
    decoder = Decoder(florence, encoded, width=width)
    ids = torch.full((len(questions) * width,), BOS, device=device)
    running = searches
    while running:
        logits = decoder.step(ids)
        candidates = _candidates(scorer, logits, running, width)
        for search, ranked in zip(running, candidates, strict=True):
            _advance(search, ranked, width)
        stay = [i for i, search in enumerate(running) if _is_running(search, width)]
        some_left = len(stay) < len(running)
        running = [running[i] for i in stay]
        beams = _all_beams(running)
        rows = torch.tensor([beam.row for beam in beams], dtype=torch.long, device=device)
        questions_left = torch.tensor(stay, dtype=torch.long, device=device)
        decoder.keep(questions_left if some_left else None, rows)
        ids = _last_ids(beams, device)
        for row, beam in enumerate(beams):
            beam.row = row
    return [_best_answer(search) for search in searches]


def _start(question: Question, number: int, width: int) -> BeamSearch:
    """The search for the answer to question `number`, whose rows stand next to each other."""
    beams = []
    for i in range(width):
        score = 0.0 if i == 0 else _DEAD
        beams.append(Beam(Draft.empty(question), score, number * width + i))
    return BeamSearch(beams)


def _last_ids(beams: Sequence[Beam], device: torch.device) -> torch.Tensor:
    """The last token of each beam: (beams,), int64."""
    import torch

    ids = [beam.draft.tokens.ids[-1] for beam in beams]
    return torch.tensor(ids, dtype=torch.long, device=device)


def _best_answer(search: BeamSearch) -> GeneratedTokens:
    best = max(search.finished, key=lambda answer: answer.score)
    return best.tokens


def _is_running(search: BeamSearch, width: int) -> bool:
    """Whether the search needs another step."""
    return bool(search.beams) and len(search.finished) < width


def _all_beams(searches: Sequence[BeamSearch]) -> list[Beam]:
    """The beams of all searches, in the order of the decoder's rows."""
    beams = []
    for search in searches:
        beams.extend(search.beams)
    return beams


def _candidates(
    scorer: TokenScorer,
    logits: torch.Tensor,
    running: Sequence[BeamSearch],
    width: int,
) -> list[list[Beam]]:
    """Rank the continuations of each question.

    Args:
        scorer: the rules of the vocabulary.
        logits: (rows, vocabulary), float32; one row for each beam, in the order of the beams.
        running: the searches that go on.
        width: beams of each.

    Returns:
        For each search its 2 x `width` likeliest continuations, the best first.
    """
    import torch

    vocabulary = logits.shape[-1]
    beams = _all_beams(running)
    allowed = scorer.mask_forbidden(logits.log_softmax(-1), [beam.draft for beam in beams])
    beam_scores = torch.tensor([beam.score for beam in beams], device=logits.device)
    totals = allowed + beam_scores[:, None]
    # All continuations of all beams of a question compete.
    best, places = totals.view(len(running), -1).topk(2 * width)
    first_rows = width * torch.arange(len(running), device=places.device)
    rows = (places // vocabulary + first_rows[:, None]).flatten()
    tokens = scorer.score(logits[rows], (places % vocabulary).flatten())

    grown = []
    for score, row, token in zip(best.flatten().tolist(), rows.tolist(), tokens, strict=True):
        grown.append(_grown(beams[row], score, token))
    return [grown[i : i + 2 * width] for i in range(0, len(grown), 2 * width)]


def _grown(beam: Beam, score: float, token: ScoredToken) -> Beam:
    """The beam with one more token; the beam itself stays unchanged."""
    old = beam.draft
    tokens = GeneratedTokens(
        list(old.tokens.ids),
        list(old.tokens.log_probs),
        list(old.tokens.beliefs),
    )
    state = None if old.state is None else replace(old.state)
    draft = Draft(old.question, tokens, state)
    draft.push(token)
    return Beam(draft, score, beam.row)


def _advance(search: BeamSearch, candidates: Sequence[Beam], width: int) -> None:
    """Finish the candidates that have ended and keep the best of the others."""
    running: list[Beam] = []
    for rank, beam in enumerate(candidates):
        if not beam.draft.done:
            running.append(beam)
        elif rank < width:
            tokens = beam.draft.tokens
            mean = beam.score / (len(tokens.ids) + 1)
            search.finished.append(FinishedAnswer(mean, tokens))
    search.finished = sorted(search.finished, key=lambda answer: -answer.score)[:width]
    search.beams = running[:width]
