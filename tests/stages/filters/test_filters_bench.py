"""The outputs of the benchmarks at a small size: their keys are there, and the work is done."""

from __future__ import annotations

from stages.filters.bench import (
    RegionBenchConfig,
    TextBenchConfig,
    captions,
    region_rules,
    text_filters,
)


def test_text_filters_report_both_rates_and_their_ratio() -> None:
    found = text_filters(TextBenchConfig(texts=60, repeats=1, slow_texts=10))
    assert found["name"] == "text-filters"
    rates = found["captions_per_second"], found["baseline_captions_per_second"]
    assert found["ratio"] == rates[0] / rates[1] > 0
    assert (
        found["one_call_per_filter_ratio"]
        == found["one_call_per_filter_captions_per_second"] / rates[1]
        < 0.5
    )
    assert (
        found["over_one_call_per_filter"]
        == rates[0] / found["one_call_per_filter_captions_per_second"]
        > 2
    )


def test_region_rules_decide_every_region() -> None:
    found = region_rules(RegionBenchConfig(regions=50_000, repeats=1))
    assert found["name"] == "region-rules"
    assert sum(found["decided"].values()) == 50_000
    assert (
        min(found["decided"].get(reason, 0) for reason in ("None", "low_score", "class_overlap"))
        > 1000
    )


def test_captions_of_the_benchmark_are_distinct_and_repeatable() -> None:
    texts = captions(200, seed=1)
    assert len(set(texts)) == 200
    assert texts == captions(200, seed=1) != captions(200, seed=2)
    assert all(t.endswith(".") and 6 < len(t.split()) < 20 for t in texts)
