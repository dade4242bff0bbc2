"""The benchmarks compare like with like: the same tokens, the same loss."""

from __future__ import annotations

from stages.florence.bench import BenchConfig, inference, training

SMALL = BenchConfig(
    size="nano", resolution=64, images=2, repeats=1, threads=1,
    lengths={"<CAPTION>": 5, "<OD>": 12, "<REGION_PROPOSAL>": 9},
)  # fmt: skip


def test_both_sides_of_the_inference_benchmark_give_the_same_tokens() -> None:
    found = inference(SMALL)
    assert found["tokens_equal"] == 1.0 and found["ratio"] > 0


def test_both_sides_of_the_training_benchmark_have_the_same_loss() -> None:
    found = training(SMALL)
    assert found["loss_difference"] < 1e-4 and found["ratio"] > 0
