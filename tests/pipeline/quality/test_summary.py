"""Sums over shards: the same in any order, and whatever the shards are."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.quality.levels import BINS, count_levels, quantile
from pipeline.quality.ranking import MOST, Ranked, Ranking
from pipeline.quality.statistics import Statistics, statistics_of
from pipeline.quality.summary import Sum, Summary, add, decode, encode
from pipeline.refinement.gate import PairedScores, count_paired
from pipeline.refinement.round_metrics import RoundCounts, metrics
from pipeline.rows import Record
from pipeline.training.selection import HeldOut
from tests.pipeline.simulated import SIZE, noisy_scenes


def test_counts_and_arrays_are_added_and_what_only_one_has_stays() -> None:
    total: Summary = {}
    one: Summary = {"kept": {"texts": 2}, "bins": np.array([1, 2]), "keys": {"a": "x"}}
    other: Summary = {
        "kept": {"texts": 1, "regions": 4},
        "bins": np.array([10, 0]),
        "keys": {"b": "y"},
    }
    add(total, one)
    add(total, other)
    assert total["kept"] == {"texts": 3, "regions": 4}
    assert total["bins"].tolist() == [11, 2]
    assert total["keys"] == {"a": "x", "b": "y"}
    assert one["kept"] == {"texts": 2} and one["bins"].tolist() == [1, 2]


@pytest.mark.parametrize("most", [1, 255, 256, 70_000, 5_000_000_000])
def test_an_array_comes_back_however_large_its_counts_are(most: int) -> None:
    array = np.array([[0, most], [3, 0]])
    again = decode(encode({"n": 7, "part": {"array": array}}))
    assert again["n"] == 7
    assert again["part"]["array"].dtype == np.int64
    assert again["part"]["array"].tolist() == array.tolist()


def test_files_of_shards_that_counted_different_things_add_up() -> None:
    one: Summary = {"kinds": {"texts": {"bins": np.array([0, 300, 0]), "kept": 2}}}
    other: Summary = {
        "kinds": {
            "texts": {"bins": np.array([5, 1, 0]), "kept": 1},
            "regions": {"places": np.array([[1, 0], [0, 2]])},
        },
        "ranking": Ranking.of([Ranked("a", 0.5)]),
    }
    added = Sum()
    for summary in (one, other, one):
        added.add(encode(summary))
    total = added.summary()
    assert total["kinds"]["texts"]["bins"].tolist() == [5, 601, 0]
    assert total["kinds"]["texts"]["kept"] == 5
    assert total["kinds"]["regions"]["places"].tolist() == [[1, 0], [0, 2]]
    assert total["ranking"].first == (Ranked("a", 0.5),)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 0.6, 1.0])
@pytest.mark.parametrize("count", [1, 2, 20, 333])
def test_a_quantile_of_counts_is_that_of_the_rounded_values(count: int, share: float) -> None:
    values = -np.random.default_rng(count).gamma(2.0, 0.5, count)
    halves = count_levels(values[: count // 2]) + count_levels(values[count // 2 :])
    expected = np.quantile(np.round(values, 2), share)
    assert quantile(halves, share) == pytest.approx(expected, abs=1e-9)


def test_what_no_model_believes_is_counted_in_the_last_bin() -> None:
    counts = count_levels([-1000.0, 0.0, 1e-9])
    assert counts[0] == 2 and counts[BINS - 1] == 1 and counts.sum() == 3


def test_a_ranking_has_the_highest_values_of_all_shards_and_equal_ones_by_key() -> None:
    # 0, 1, 2, 0, 1, 2, ...: 100 samples have the value 2.
    samples = [Ranked(f"key-{number:03d}", number % 3) for number in range(300)]
    expected = [f"key-{number:03d}" for number in range(2, 3 * MOST, 3)]
    for shards in (1, 2, 7, 300):
        parts = [Ranking.of(samples[first::shards]) for first in range(shards)]
        random.Random(shards).shuffle(parts)
        total: Summary = {}
        for part in parts:
            add(total, decode(encode({"part": {"ranking": part}})))
        ranking = total["part"]["ranking"]
        assert [sample.key for sample in ranking.first] == expected
        assert {sample.value for sample in ranking.first} == {2}


def _counted(records: Sequence[Record], before: Sequence[Record], known: Summary) -> Summary:
    counts = RoundCounts(HeldOut(share=0.5))
    counts.add_shard(records, before, known)
    return {
        "metrics": counts.summary(),
        "statistics": statistics_of(records).summary(),
        "paired": count_paired(before, records, known, HeldOut(share=0.5)),
    }


def test_a_round_counts_the_same_in_one_shard_and_in_many() -> None:
    records = []
    before = []
    known = {}
    for number, (labels, truth) in enumerate(noisy_scenes(24)):
        key = f"scene_{number}"
        values = {"key": key, "name": key, "width": SIZE[0], "height": SIZE[1], "sha256": ""}
        before.append(Record(**values, annotations=labels))
        # The round has lost every third sample's regions.
        regions = labels.regions if number % 3 else []
        changed = type(labels)(texts=labels.texts, regions=regions)
        records.append(Record(**values, annotations=changed))
        known[key] = truth
    whole = decode(encode(_counted(records, before, known)))
    parts = []
    for first, last in ((0, 1), (1, 9), (9, 24)):
        part = slice(first, last)
        parts.append(encode(_counted(records[part], before[part], known)))
    random.Random(0).shuffle(parts)
    total: Summary = {}
    for part in parts:
        add(total, decode(part))
    assert encode(total) == encode(whole)
    statistics = Statistics.of(total["statistics"])
    assert statistics.to_dict() == statistics_of(records).to_dict()
    measured = metrics(total["metrics"], with_changes=True)
    assert measured["samples"] == 24
    assert measured["truth"]["all"]["score"] < 1
    # Most boxes are gone where there were most; keys decide between equal numbers.
    lost = {}
    for old, new in zip(before, records, strict=True):
        if number_lost := len(old.annotations.kept().regions) - len(new.annotations.kept().regions):
            lost[new.key] = number_lost
    ranked = [(sample["key"], sample["value"]) for sample in measured["most_changed"]]
    assert ranked == sorted(lost.items(), key=lambda item: (-item[1], item[0])) and ranked
    paired = PairedScores.of(total["paired"])
    assert paired is not None and 0 < paired.samples < 24
    held_out = measured["truth"]["held_out"]["metrics"]["regions"]
    assert paired.new.sum(axis=0)[2].tolist() == [
        held_out["matched"],
        held_out["labels"],
        held_out["truth"],
    ]
