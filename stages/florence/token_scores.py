"""Choosing and scoring tokens from logits: grammar, centred locations, log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.florence import grammar
from stages.florence.codec import BINS
from stages.florence.generation import Draft, ScoredToken
from stages.florence.model import Florence
from stages.florence.tokenizer import token_id

if TYPE_CHECKING:
    import torch

NEAR = 20
"""Locations within so many bins (2% of the image's side) count as one when belief is summed."""

_MIN_PROBABILITY = 1e-9
_CENTRING_STEPS = 2


class TokenScorer:
    """The rules of choosing tokens, for the vocabulary of one model.

    Attributes:
        kinds: (vocabulary,), int64: the kind of each token; see `grammar.token_kinds`.
        first_location: id of `<loc_0>`; the other locations follow it.
    """

    def __init__(self, florence: Florence) -> None:
        vocabulary = florence.model.lm_head.out_features
        self.kinds = grammar.token_kinds(florence.tokenizer, vocabulary).to(florence.device)
        self.first_location = token_id(florence.tokenizer, "<loc_0>")

    def mask_forbidden(self, scores: torch.Tensor, drafts: Sequence[Draft]) -> torch.Tensor:
        """Set the scores of forbidden tokens to minus infinity.

        Args:
            scores: (rows, vocabulary), float; logits or log-probabilities. They stay unchanged.
            drafts: the answer of each row.

        Returns:
            (rows, vocabulary), in the dtype of `scores`.
        """
        import torch

        ruled_rows = []
        states = []
        forbidden_rows = []
        forbidden_ids = []
        for row, draft in enumerate(drafts):
            if draft.state is not None:
                ruled_rows.append(row)
                states.append(draft.state)
            for token in draft.forbidden():
                forbidden_rows.append(row)
                forbidden_ids.append(token)
        if not ruled_rows and not forbidden_rows:
            return scores
        scores = scores.clone()
        if ruled_rows:
            mask = grammar.forbidden_tokens(states, self.kinds)
            scores[ruled_rows] = scores[ruled_rows].masked_fill(mask, float("-inf"))
        if forbidden_rows:
            rows = torch.tensor(forbidden_rows, device=scores.device)
            ids = torch.tensor(forbidden_ids, device=scores.device)
            scores[rows, ids] = float("-inf")
        return scores

    def centred_choice(
        self,
        logits: torch.Tensor,
        allowed: torch.Tensor,
        radius: int,
    ) -> torch.Tensor:
        """Choose the likeliest token of each row, where all locations together are one candidate.

        If the locations win, the choice is the mean of their probability around the likeliest bin.
        The bins of a roughly known edge share its probability, so each alone might be less likely
        than some word that does not belong there.

        Args:
            logits: (rows, vocabulary), float.
            allowed: the same with forbidden tokens at minus infinity.
            radius: bins on each side of the likeliest one that enter the mean.

        Returns:
            (rows,), int64; ids.
        """
        import torch

        first = self.first_location
        location_scores = allowed[:, first : first + BINS]
        words = allowed.clone()
        words[:, first : first + BINS] = float("-inf")

        probabilities = logits[:, first : first + BINS].softmax(-1)
        bins = torch.arange(BINS, device=logits.device)
        centre = location_scores.argmax(-1)
        # The first mean leans towards the bin where it started; the second hardly does.
        for _ in range(_CENTRING_STEPS):
            is_near = (bins - centre[:, None]).abs() <= radius
            near = probabilities * is_near
            mean = (near * bins).sum(1) / near.sum(1).clamp(min=_MIN_PROBABILITY)
            centre = mean.round().long()

        best_word = words.max(-1)
        is_location = location_scores.logsumexp(-1) > best_word.values
        return torch.where(is_location, first + centre, best_word.indices)

    def score(self, logits: torch.Tensor, ids: torch.Tensor) -> list[ScoredToken]:
        """Score one token of each row under the model's own distribution.

        Args:
            logits: (rows, vocabulary), float; without any grammar.
            ids: (rows,), int64.

        Returns:
            One token for each row.
        """
        import torch

        log_total = logits.logsumexp(-1, keepdim=True)
        own = (logits.gather(1, ids[:, None]) - log_total)[:, 0]
        kinds = self.kinds[ids]
        near = self._near_probability(logits, log_total, ids)
        belief = near.log().where(kinds == grammar.LOCATION, own)
        columns = [ids.double(), kinds.double(), own.double(), belief.double()]
        rows = torch.stack(columns, dim=1).tolist()
        return [ScoredToken(int(row[0]), int(row[1]), row[2], row[3]) for row in rows]

    def _near_probability(
        self,
        logits: torch.Tensor,
        log_total: torch.Tensor,
        ids: torch.Tensor,
    ) -> torch.Tensor:
        """The probability (rows,) of all locations within `NEAR` bins of each id.

        Rows whose id is no location get a number without meaning.
        """
        first = self.first_location
        # cumulative[b] is the probability of bins 0..b, so a range of bins is one difference.
        cumulative = (logits[:, first : first + BINS] - log_total).exp().cumsum(1)
        bins = (ids - first).clamp(0, BINS - 1)[:, None]
        upper = cumulative.gather(1, (bins + NEAR).clamp(max=BINS - 1))
        lower = cumulative.gather(1, (bins - NEAR - 1).clamp(min=0)) * (bins > NEAR)
        return (upper - lower)[:, 0].clamp(_MIN_PROBABILITY, 1.0)
