"""What the gate says to a user: the numbers, why, and what to do next."""

from __future__ import annotations

import pytest

from pipeline.config.run import GateConfig
from pipeline.quality.truth import Interval
from pipeline.refinement import reasons
from pipeline.refinement.rules import MergeConfig
from pipeline.storage.json_types import Json

GATE = GateConfig()


def measured(**kinds: tuple[int, int]) -> Json:
    """Labels that were found again, and all, by kind."""
    confirmed = sum(found for found, _ in kinds.values())
    possible = sum(of for _, of in kinds.values())
    counts = {name: {"confirmed": found, "of": of} for name, (found, of) in kinds.items()}
    return {"refound": confirmed / possible if possible else None, "support": None, "kinds": counts}


@pytest.mark.parametrize(
    ("evidence", "sentence"),
    [
        (
            measured(regions=(4, 90), text_regions=(0, 10)),
            "no change: the model found 4% of the old labels again on samples that it had not "
            "learned from (regions 4 of 90, text regions 0 of 10), so none of its changes was "
            "trusted. Next: more images, more training steps (train.stages), or a pre-trained "
            "refine.start.",
        ),
        (
            measured(regions=(60, 90)),
            "no change: the model found 67% of the old labels again on samples that it had not "
            "learned from (regions 60 of 90), and it was not certain enough of anything else. "
            "Next: more images, more training steps (train.stages), or a pre-trained refine.start.",
        ),
        (
            measured(regions=(9, 12)),
            "no change: the model found 75% of the old labels again on samples that it had not "
            "learned from (regions 9 of 12); 20 labels of a kind must be found again before the "
            "model is trusted. Next: more images, or a higher refine.gate.held_out.",
        ),
        (
            measured(),
            "no change: there was no label to measure the model on. "
            "Next: more images, or a higher refine.gate.held_out.",
        ),
    ],
)
def test_a_round_without_a_change_says_how_far_the_model_was_trusted(
    evidence: Json, sentence: str
) -> None:
    assert reasons.no_change(evidence, MergeConfig()) == sentence


def test_with_truth_the_sentence_has_the_scores_and_the_limit() -> None:
    numbers = reasons.compared(Interval(value=-0.02, low=-0.03, high=-0.01), 0.5, 50)
    assert numbers == (
        "mean F1 on 50 held-out samples 0.500 -> 0.480 "
        "(difference -0.020, 95% interval -0.030 to -0.010)"
    )
    assert "the whole interval lies below zero" in reasons.worse(numbers, GATE)
    assert "the whole interval lies below -0.1" in reasons.worse(numbers, GateConfig(tolerance=0.1))
    assert "a gain of 0.002 is needed (refine.gate.min_gain). Next: " in reasons.no_gain(
        numbers, GATE
    )
    assert reasons.better(numbers, GATE).endswith(
        "a gain of 0.002 is needed (refine.gate.min_gain)."
    )


def test_the_result_is_the_round_if_it_is_accepted_and_its_head_if_not() -> None:
    assert reasons.result(True, 2, 1) == "Round 2 is your result."
    assert reasons.result(False, 2, 0) == "Round 0 is your result."
