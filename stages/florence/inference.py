"""Asking a model many things of many images: one vision pass per image, all rows decoded together, finished
rows leave.

In: images, and rows (image number, prompt, kind of answer). Out: the tokens of each answer with their
log-probability under the model's own distribution (before any grammar): the confidence of new labels; and, by
teacher forcing with the same shared encoding, the log-probabilities of given targets: how much the model
supports old labels. Greedy output without a grammar equals `transformers`' `generate` (num_beams=1) token for
token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stages.florence import beams, forward, grammar
from stages.florence.codec import BINS
from stages.florence.decoder import Decoder
from stages.florence.forward import BOS, EOS, START, Encoded
from stages.florence.model import Florence, token_id
from stages.florence.tasks import Answer

if TYPE_CHECKING:
    import torch

NEAR = 20  # bins, 2% of the image's side
_LEAVE = (
    0.25  # of the rows in a batch have to be done before they leave it: leaving copies the caches
)


@dataclass(frozen=True, slots=True)
class Question:
    """One row: a prompt to image number `image`. `answer` chooses the grammar; None decodes freely. The answer
    does not end before `min_tokens`. No `no_repeat` tokens in a row come twice, where it is above 0: the published
    settings have 3, which forbids regions that share three coordinates in a row, so leave it off for regions."""

    image: int
    prompt: str
    answer: Answer | None = None
    max_tokens: int = 128
    min_tokens: int = 0
    no_repeat: int = 0


@dataclass(slots=True)
class Tokens:
    """An answer: its ids after `<s>`, the end token included when it came, and for each its log-probability,
    and its belief: the same, but for a location the log-probability of all locations within `NEAR` bins of
    it. A thousand bins share the belief in one edge, so that only the latter says how sure the model is of a
    box."""

    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    beliefs: list[float] = field(default_factory=list)


class Chosen(NamedTuple):
    """A token at the end of an answer, and its kind in the grammar."""

    id: int
    kind: int
    log_prob: float
    belief: float


@dataclass(slots=True)
class Draft:
    """An answer under way; `state` is where it stands in its grammar."""

    question: Question
    tokens: Tokens
    state: grammar.State | None

    def push(self, chosen: Chosen) -> None:
        self.tokens.ids.append(chosen.id)
        self.tokens.log_probs.append(chosen.log_prob)
        self.tokens.beliefs.append(chosen.belief)
        if self.state is not None:
            self.state.push(chosen.kind)

    @property
    def done(self) -> bool:
        ids = self.tokens.ids
        return bool(ids) and (ids[-1] == EOS or len(ids) >= self.question.max_tokens)

    def barred(self) -> list[int]:
        """Tokens that may not come next whatever the grammar: the end of a short answer, and those that would
        repeat an n-gram (the start tokens are part of the answer)."""
        ids = self.tokens.ids
        barred = [EOS] if len(ids) + 1 < self.question.min_tokens else []
        return barred + grammar.repeating([START, BOS, *ids], self.question.no_repeat)


class Engine:
    """A loaded model that answers questions: `rows` are decoded at once, with `beams` beams each (1: greedily).

    With `centre` above 0 a greedy answer's locations lie at the mean of the belief within so many bins (see `placed`).
    """

    def __init__(
        self,
        florence: Florence,
        resolution: int,
        *,
        rows: int = 128,
        beams: int = 1,
        max_prompt_tokens: int = 256,
        centre: int = 0,
    ) -> None:
        self.florence, self.resolution, self.centre = florence, resolution, centre
        self.rows, self.beams, self.max_prompt_tokens = rows, beams, max_prompt_tokens
        self.kinds = grammar.token_kinds(
            florence.tokenizer, florence.model.lm_head.out_features
        ).to(florence.device)
        self.first_location = token_id(florence.tokenizer, "<loc_0>")

    def look(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            return forward.look(self.florence, images, self.resolution)

    def ask(self, features: torch.Tensor, questions: Sequence[Question]) -> list[Tokens]:
        """The answer to every question, in their order."""
        import torch

        answers = [Tokens() for _ in questions]
        with torch.inference_mode():
            for chosen, encoded in self._encoded(
                features, [(q.image, q.prompt) for q in questions]
            ):
                asked = [questions[i] for i in chosen]
                if self.beams == 1:
                    found = self._greedy(encoded, asked)
                else:
                    found = beams.decode(self, encoded, asked, self.beams)
                for i, tokens in zip(chosen, found, strict=True):
                    answers[i] = tokens
        return answers

    def support(
        self, features: torch.Tensor, rows: Sequence[tuple[int, str, str]], max_tokens: int = 256
    ) -> list[Tokens]:
        """Every (image number, prompt, target): the target's ids and the log-probability of each,
        teacher-forced."""
        import torch

        found = [Tokens() for _ in rows]
        targets = forward.tokenise(self.florence, [target for *_, target in rows], max_tokens)
        with torch.inference_mode():
            for chosen, encoded in self._encoded(
                features, [(image, prompt) for image, prompt, _ in rows], targets
            ):
                logits, labels = forward.target_logits(
                    self.florence, encoded, [targets[i] for i in chosen]
                )
                weighed = iter(self.weigh(logits, labels))
                for i in chosen:
                    for token in islice(weighed, len(targets[i]) - 1):
                        found[i].ids.append(token.id)
                        found[i].log_probs.append(token.log_prob)
                        found[i].beliefs.append(token.belief)
        return found

    def _encoded(
        self,
        features: torch.Tensor,
        rows: Sequence[tuple[int, str]],
        targets: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[tuple[list[int], Encoded]]:
        """Encoded batches of rows of like length, with the numbers of their rows."""
        prompts = forward.tokenise(
            self.florence, [prompt for _, prompt in rows], self.max_prompt_tokens
        )
        lengths = [(len(targets[i]) if targets else 0, len(prompts[i])) for i in range(len(rows))]
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        for start in range(0, len(order), self.rows):
            chosen = order[start : start + self.rows]
            images = [rows[i][0] for i in chosen]
            yield (
                chosen,
                forward.encode(self.florence, features, images, [prompts[i] for i in chosen]),
            )

    def _greedy(self, encoded: Encoded, questions: Sequence[Question]) -> list[Tokens]:
        """The answers of a batch of rows, the likeliest token at every step."""
        import torch

        drafts = [self.draft(question) for question in questions]
        going = drafts  # the drafts that the rows of the tensors belong to
        decoder = Decoder(self.florence, encoded)
        ids = torch.full((len(going),), BOS, device=self.florence.device)
        while going:
            logits = decoder.step(ids)
            allowed = self.allow(logits, going)
            ids = self.placed(logits, allowed) if self.centre else allowed.argmax(-1)
            for draft, found in zip(going, self.weigh(logits, ids), strict=True):
                if not draft.done:
                    draft.push(found)
            stay = [row for row, draft in enumerate(going) if not draft.done]
            if len(stay) <= (1 - _LEAVE) * len(going):
                rows = torch.tensor(stay, dtype=torch.long, device=ids.device)
                going, ids = [going[row] for row in stay], ids[rows]
                decoder.keep(rows, rows)
        return [draft.tokens for draft in drafts]

    def draft(self, question: Question) -> Draft:
        return Draft(
            question, Tokens(), grammar.State(question.answer) if question.answer else None
        )

    def placed(self, logits: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """The likeliest tokens, where all locations together are one candidate: that at the mean of the belief around
        the likeliest one (twice, as the first mean leans to where it started). No bin of a rough edge is as likely as
        some word that does not belong there."""
        import torch

        first = self.first_location
        places, words = allowed[:, first : first + BINS], allowed.clone()
        words[:, first : first + BINS] = float("-inf")
        belief = logits[:, first : first + BINS].softmax(-1)
        bins, place = torch.arange(BINS, device=logits.device), places.argmax(-1)
        for _ in range(2):
            near = belief * ((bins - place[:, None]).abs() <= self.centre)
            place = ((near * bins).sum(1) / near.sum(1).clamp(min=1e-9)).round().long()
        best = words.max(-1)
        return torch.where(places.logsumexp(-1) > best.values, first + place, best.indices)

    def allow(self, scores: torch.Tensor, drafts: Sequence[Draft]) -> torch.Tensor:
        """`scores` without what the grammar and the question of each row forbid."""
        import torch

        ruled = [row for row, draft in enumerate(drafts) if draft.state is not None]
        barred = [(row, token) for row, draft in enumerate(drafts) for token in draft.barred()]
        if not ruled and not barred:
            return scores
        scores = scores.clone()
        if ruled:
            closed = grammar.forbidden([d.state for d in drafts if d.state is not None], self.kinds)
            scores[ruled] = scores[ruled].masked_fill(closed, float("-inf"))
        if barred:
            rows, tokens = torch.tensor(barred, device=scores.device).unbind(1)
            scores[rows, tokens] = float("-inf")
        return scores

    def weigh(self, logits: torch.Tensor, chosen: torch.Tensor) -> list[Chosen]:
        """The chosen ids with their log-probabilities and the beliefs in them (see `Tokens`)."""
        import torch

        whole, first = logits.logsumexp(-1, keepdim=True), self.first_location
        own = (logits.gather(1, chosen[:, None]) - whole)[:, 0]
        mass = (logits[:, first : first + BINS] - whole).exp().cumsum(1)
        place = (chosen - first).clamp(0, BINS - 1)[:, None]
        upper = mass.gather(1, (place + NEAR).clamp(max=BINS - 1))
        lower = mass.gather(1, (place - NEAR - 1).clamp(min=0)) * (place > NEAR)
        near = (upper - lower)[:, 0].clamp(1e-9, 1.0).log()
        kinds = self.kinds[chosen]
        belief = near.where(kinds == grammar.LOCATION, own)
        values = torch.stack(
            [chosen.double(), kinds.double(), own.double(), belief.double()], dim=1
        ).tolist()
        return [Chosen(int(id_), int(kind), own, belief) for id_, kind, own, belief in values]


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer as text, and the characters of each of its tokens and the belief in it."""

    text: str
    spans: tuple[tuple[int, int], ...]
    beliefs: tuple[float, ...]

    def mean(self, spans: Sequence[tuple[int, int]] | None = None) -> float:
        """The mean belief in the tokens that touch these characters (None: all of them; never the end token)."""
        within = [(0, len(self.text))] if spans is None else spans
        chosen = [
            value
            for (start, end), value in zip(self.spans, self.beliefs, strict=True)
            if any(start < last and end > first for first, last in within)
        ]
        return sum(chosen) / len(chosen) if chosen else 0.0


def read(florence: Florence, tokens: Tokens) -> Reading:
    """The text of an answer without its end token; a character of several tokens belongs to the last of
    them."""
    text, spans, pending = "", list[tuple[int, int]](), list[int]()
    for token in tokens.ids:
        piece = ""
        if token != EOS:
            pending.append(token)
            piece = str(florence.tokenizer.decode(pending, skip_special_tokens=False))
            if piece.endswith("\ufffd"):
                piece = ""
            else:
                pending = []
        spans.append((len(text), len(text) + len(piece)))
        text += piece
    return Reading(text, tuple(spans), tuple(tokens.beliefs))
