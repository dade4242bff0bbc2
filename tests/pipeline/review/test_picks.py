"""Which samples people should review: doubtful ones, and some by chance."""

from __future__ import annotations

from pipeline.quality.doubt import doubt_of
from pipeline.review.picks import pick
from pipeline.schema import HUMAN
from tests.pipeline.review.labels import record_of, region


def test_the_least_certain_samples_are_picked_and_a_random_part_of_all() -> None:
    records = [record_of(f"k{i}", region("a", score=i / 40)) for i in range(40)]
    picks = pick(records, 8, 0.5)
    assert [each.why for each in picks] == ["random"] * 4 + ["doubtful"] * 4
    by_chance = {each.key for each in picks[:4]}
    lowest = [f"k{i}" for i in range(8) if f"k{i}" not in by_chance]
    assert [each.key for each in picks[4:]] == lowest[:4]
    assert picks == pick(reversed(records), 8, 0.5)
    assert pick(records, 8, 0.5, seed=1)[:4] != picks[:4]
    assert len(pick(records, 100, 0.25)) == 40


def test_chance_picks_held_out_samples_and_doubt_picks_others() -> None:
    records = [record_of(f"k{i}", region("a", score=i / 40)) for i in range(40)]
    picks = pick(records, 10, 0.5, held_out=lambda key: int(key[1:]) % 4 == 0)
    assert [each.why for each in picks] == ["random"] * 5 + ["doubtful"] * 5
    assert all(int(each.key[1:]) % 4 == 0 for each in picks[:5])
    assert [each.key for each in picks[5:]] == ["k1", "k2", "k3", "k5", "k6"]


def test_doubt_is_of_kept_boxes_of_machines_and_believes_the_merge_first() -> None:
    sure = region("a", score=0.1, confidence=1.0)
    half = region("b", score=0.9, agreement=0.5)
    human = region("c", source=HUMAN, score=0.0)
    dropped = region("d", score=0.0, dropped="low_score")
    assert doubt_of(record_of("k", sure, half, human, dropped).annotations) == 0.25
    assert doubt_of(record_of("k", human, region("e")).annotations) is None
