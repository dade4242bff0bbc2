from __future__ import annotations

from collections import Counter

import pytest

from pipeline.quality.audit import sample, score, wilson
from pipeline.rows import Record
from pipeline.schema import Annotations, Region, Text, Triplet


def records(count: int = 50) -> list[Record]:
    return [
        Record(
            key=f"k{i:03}",
            name="",
            width=64,
            height=64,
            sha256="",
            annotations=Annotations(
                texts=[Text(id="t", source="caption", granularity="brief", text="a dog")],
                regions=[
                    Region(id="a", source="detect", box=(0, 0, 9, 9), phrase="dog"),
                    Region(id="b", source="refine", box=(0, 0, 9, 9), phrase="dog"),
                    Region(id="c", source="detect", box=(0, 0, 9, 9), phrase="dog", dropped="nms"),
                ],
                triplets=[
                    Triplet(
                        id="p",
                        source="ground",
                        text_id="t",
                        phrase="dog",
                        start=2,
                        end=5,
                        box=(0, 0, 9, 9),
                    )
                ],
            ),
        )
        for i in range(count)
    ]


def test_a_sample_holds_n_kept_annotations_of_each_type() -> None:
    items = sample(records(), 10)
    assert Counter(item.type for item in items) == {"texts": 10, "regions": 10, "triplets": 10}
    assert "c" not in {item.id for item in items}


def test_a_sample_per_source_holds_n_of_each() -> None:
    found = Counter((item.type, item.source) for item in sample(records(), 10, per="source"))
    assert found["regions", "detect"] == found["regions", "refine"] == 10


def test_a_small_round_is_audited_whole() -> None:
    assert Counter(item.type for item in sample(records(3), 10)) == {
        "texts": 3,
        "regions": 6,
        "triplets": 3,
    }


def test_the_sample_depends_on_the_seed_and_not_on_the_order() -> None:
    assert sample(records(), 10, seed=1) == sample(reversed(records()), 10, seed=1)
    assert sample(records(), 10, seed=1) != sample(records(), 10, seed=2)


def test_every_annotation_is_as_likely_to_be_drawn() -> None:
    drawn = Counter(
        item.key
        for seed in range(400)
        for item in sample(records(20), 5, seed=seed)
        if item.id == "t"
    )
    assert sum(drawn.values()) == 2000 and min(drawn.values()) > 65 and max(drawn.values()) < 135


def test_a_triplet_is_shown_with_its_text() -> None:
    item = next(item for item in sample(records(1), 1) if item.type == "triplets")
    assert [text.text for text in item.shown.texts] == ["a dog"]


@pytest.mark.parametrize(
    ("right", "judged", "low", "high"),
    [
        (0, 5, 0.0, 0.434482465),
        (5, 5, 0.565517535, 1.0),
        (47, 50, 0.837829083, 0.97938503),
        (1, 200, 0.000883169, 0.027773704),
    ],
)
def test_intervals_equal_scipys(right: int, judged: int, low: float, high: float) -> None:
    assert wilson(right, judged) == pytest.approx((low, high), abs=1e-8)


def test_precision_per_type_and_source_leaves_out_what_was_not_judged() -> None:
    verdicts = [("detect", "yes"), ("detect", "no"), ("refine", "yes"), ("refine", None)]
    items = [
        {"type": "regions", "source": source, "verdict": verdict} for source, verdict in verdicts
    ]
    rows = {
        row["source"]: (row["judged"], row["right"])
        for row in score({"round": "00", "items": items})
    }
    assert rows == {"all": (3, 2), "detect": (2, 1), "refine": (1, 1)}


def test_a_file_that_is_no_audit_is_refused() -> None:
    with pytest.raises(ValueError, match="not a judged audit"):
        score({"round": "00"})
    with pytest.raises(ValueError, match=r"items\[0\].verdict='maybe'"):
        score({"round": "00", "items": [{"type": "texts", "source": "x", "verdict": "maybe"}]})
    with pytest.raises(ValueError, match="give at least 1"):
        sample([], 0)
