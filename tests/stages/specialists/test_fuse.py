"""Several detectors heard as one."""

from __future__ import annotations

import pytest

from pipeline.schema import Annotations, Box, Region
from stages.base import Sample
from stages.specialists.fuse import Fuse, FuseConfig

A: Box = (0.0, 0.0, 10.0, 10.0)
B: Box = (2.0, 0.0, 12.0, 10.0)  # IoU 2/3 with A
FAR: Box = (50.0, 50.0, 60.0, 60.0)


def region(id: str, source: str, box: Box = A, score: float = 0.8, phrase: str = "dog") -> Region:
    return Region(id=id, source=source, box=box, score=score, phrase=phrase)


def fused(*regions: Region, sources: tuple[str, ...] = ("one", "two")) -> tuple[list[Region], dict[str, str]]:
    sample = Sample(key="k", size=(99, 99), annotations=Annotations(regions=list(regions)))
    (result,) = Fuse(FuseConfig(sources=sources))([sample])
    made = [r for r in result.regions if not r.id]
    return made, {r.id: r.dropped for r in result.regions if r.id}


def test_agreeing_boxes_become_their_mean_weighted_by_score() -> None:
    (made,), dropped = fused(region("a", "one", A, 0.6), region("b", "two", B, 0.2))
    assert made.box == pytest.approx((0.5, 0, 10.5, 10))
    assert (made.score, made.phrase, made.parents) == (pytest.approx(0.4), "dog", ["a", "b"])
    assert dropped == {"a": "fused", "b": "fused"}


def test_a_box_that_only_one_of_the_sources_sees_loses_score() -> None:
    (made,), _ = fused(region("a", "one", A, 0.6))
    assert (made.box, made.score) == (A, pytest.approx(0.3))


def test_two_boxes_of_one_source_are_no_agreement() -> None:
    (made,), _ = fused(region("a", "one", A, 0.6), region("b", "one", B, 0.6))
    assert made.score == pytest.approx(0.3)


def test_other_categories_and_places_stay_apart_best_first() -> None:
    made, _ = fused(region("a", "one"), region("c", "two", phrase="cat"), region("f", "two", FAR, 0.9))
    assert [(r.phrase, r.parents) for r in made] == [("dog", ["f"]), ("dog", ["a"]), ("cat", ["c"])]


def test_other_sources_and_unsure_regions_are_left_alone() -> None:
    made, dropped = fused(region("a", "other"), region("b", "one", score=0.01))
    assert (made, dropped) == ([], {})


def test_the_result_does_not_depend_on_the_order_of_the_regions() -> None:
    regions = [region("a", "one"), region("b", "two", B, 0.5), region("c", "two", FAR), region("d", "one", B)]
    assert fused(*regions)[0] == fused(*reversed(regions))[0]


def test_one_source_is_no_ensemble() -> None:
    with pytest.raises(ValueError, match=r"sources=\['one'\]: name at least two detectors"):
        Fuse(FuseConfig(sources=("one",)))
