"""The benchmarks compare like with like: the same tokens, the same loss."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from stages.florence.bench import BenchConfig
from stages.florence.bench_inference import inference
from stages.florence.bench_training import TrainingConfig, training

SMALL = BenchConfig(
    size="nano",
    vocabulary=1408,
    resolution=64,
    images=2,
    repeats=1,
    threads=1,
    lengths={"<CAPTION>": 5, "<OD>": 12, "<REGION_PROPOSAL>": 9},
)


def test_both_sides_of_the_inference_benchmark_give_the_same_tokens() -> None:
    found = inference(SMALL)
    assert found["tokens_equal"] == 1.0 and found["ratio"] > 0
    assert set(found["shares"]) == {"vision", "encoder", "decoder"}
    assert sum(found["shares"].values()) == pytest.approx(1, abs=0.01)


def test_the_baseline_may_take_fewer_images_at_once() -> None:
    assert inference(replace(SMALL, baseline_batch=1))["tokens_equal"] == 1.0


def test_both_sides_of_the_training_benchmark_have_the_same_loss() -> None:
    given = {field.name: getattr(SMALL, field.name) for field in fields(SMALL)}
    found = training(TrainingConfig(**given))
    assert found["loss_difference"] < 1e-4 and found["ratio"] > 0


def test_the_benchmarks_ask_for_tasks_that_exist() -> None:
    assert "<CAPTION_TO_PHRASE_GROUNDING>" in BenchConfig().lengths
    with pytest.raises(ValueError, match=r"^lengths: <ODD>: no such task; did you mean <OD>\?"):
        BenchConfig(lengths={"<ODD>": 3})
