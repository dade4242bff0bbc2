"""The loss of locations: plain cross-entropy without a spread, forgiving with one."""

from __future__ import annotations

import pytest
import torch

from stages.florence.loss import token_losses

FIRST, VOCABULARY = 20, 1040
WORD, PLACE = 5, FIRST + 300


def logits(rows: int = 3) -> torch.Tensor:
    return torch.randn((rows, VOCABULARY), generator=torch.Generator().manual_seed(0))


def test_without_a_spread_it_is_the_cross_entropy() -> None:
    labels = torch.tensor([WORD, PLACE, FIRST + 999])
    expected = torch.nn.functional.cross_entropy(logits(), labels, reduction="sum")
    assert token_losses(logits(), labels, FIRST, 0.0, 1.0).sum().item() == pytest.approx(
        expected.item(), rel=1e-6
    )


def test_the_weight_is_of_locations_only() -> None:
    word, place = (
        token_losses(logits(1), torch.tensor([i]), FIRST, 0.0, 1.0).item() for i in (WORD, PLACE)
    )
    both = torch.stack([logits(1)[0]] * 2)
    assert token_losses(
        both, torch.tensor([WORD, PLACE]), FIRST, 0.0, 0.25
    ).sum().item() == pytest.approx(word + place / 4)


def test_with_a_spread_a_near_miss_costs_less_than_a_far_one_and_words_cost_the_same() -> None:
    def cost(guess: int, label: int) -> float:
        sure = torch.zeros((1, VOCABULARY))
        sure[0, guess] = 12.0
        return float(token_losses(sure, torch.tensor([label]), FIRST, 10.0, 1.0))

    assert cost(PLACE, PLACE) < cost(PLACE + 10, PLACE) < cost(PLACE + 40, PLACE)
    plain = torch.nn.functional.cross_entropy(logits(1), torch.tensor([WORD]))
    assert float(token_losses(logits(1), torch.tensor([WORD]), FIRST, 10.0, 1.0)) == pytest.approx(
        float(plain), rel=1e-6
    )


def test_the_best_answer_is_the_normal_around_the_label() -> None:
    guess = torch.zeros((1, VOCABULARY), requires_grad=True)
    optimiser = torch.optim.LBFGS([guess], max_iter=200, tolerance_grad=1e-10)

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        loss = token_losses(guess, torch.tensor([PLACE]), FIRST, 10.0, 1.0)
        loss.backward()
        return loss

    optimiser.step(step)
    belief = guess.detach().softmax(-1)[0, FIRST : FIRST + 1000]
    bins = torch.arange(1000.0)
    mean = float((belief * bins).sum())
    assert mean == pytest.approx(300, abs=0.5)
    assert float((belief * (bins - mean) ** 2).sum() ** 0.5) == pytest.approx(10, rel=0.05)
