"""Several detectors heard as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.schema import Annotations, Box, Region, Text, TextRegion, Triplet
from stages.base import Sample, StageError
from stages.filters.region import RegionFilter, RegionFilterConfig
from stages.specialists.fuse import Fuse, FuseConfig

A: Box = (0.0, 0.0, 10.0, 10.0)
B: Box = (2.0, 0.0, 12.0, 10.0)  # IoU 2/3 with A
FAR: Box = (50.0, 50.0, 60.0, 60.0)


def region(id: str, source: str, box: Box = A, score: float = 0.8, phrase: str = "dog") -> Region:
    return Region(id=id, source=source, box=box, score=score, phrase=phrase)


def fused(
    *regions: Region, sources: tuple[str, ...] = ("one", "two")
) -> tuple[list[Region], dict[str, str]]:
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
    made, _ = fused(
        region("a", "one"), region("c", "two", phrase="cat"), region("f", "two", FAR, 0.9)
    )
    assert [(r.phrase, r.parents) for r in made] == [("dog", ["f"]), ("dog", ["a"]), ("cat", ["c"])]


def test_other_sources_and_unsure_regions_are_left_alone() -> None:
    made, dropped = fused(region("a", "other"), region("b", "one", score=0.01))
    assert (made, dropped) == ([], {})


def test_the_result_does_not_depend_on_the_order_of_the_regions() -> None:
    regions = [
        region("a", "one"),
        region("b", "two", B, 0.5),
        region("c", "two", FAR),
        region("d", "one", B),
    ]
    assert fused(*regions)[0] == fused(*reversed(regions))[0]


def test_one_source_is_no_ensemble() -> None:
    with pytest.raises(StageError, match=r"sources=\['one'\]: name at least two stages"):
        Fuse(FuseConfig(sources=("one",)))


def test_agreement_is_stored_and_a_filter_asks_for_it() -> None:
    made, _ = fused(region("a", "one"), region("b", "two", B), region("f", "two", FAR, 0.9))
    assert {r.parents[0]: r.agreement for r in made} == {"a": 1.0, "f": 0.5}
    named = [replace(r, id=str(i)) for i, r in enumerate(made)]
    sample = Sample(key="k", size=(99, 99), annotations=Annotations(regions=named))
    (result,) = RegionFilter(RegionFilterConfig(min_agreement=0.6))([sample])
    assert [(r.parents, r.dropped) for r in result.regions] == [(["f"], "low_agreement")]


def test_readers_agree_on_a_string_whatever_its_case_and_spaces() -> None:
    quads = [(0.0, 0.0, 20.0, 0.0, 20.0, 8.0, 0.0, 8.0), (0.0, 0.0, 22.0, 0.0, 22.0, 8.0, 0.0, 8.0)]
    said = zip(
        ("Stop it", "STOPIT", "other"), ("one", "two", "two"), (*quads, quads[0]), strict=True
    )
    read = [TextRegion(id=s, source=s, quad=q, text=t, score=0.8) for t, s, q in said]
    (result,) = Fuse(FuseConfig(sources=("one", "two")))(
        [Sample(key="k", size=(99, 99), annotations=Annotations(text_regions=read))]
    )
    made = [t for t in result.text_regions if not t.id]
    assert [(t.text, t.agreement, t.quad[2]) for t in made] == [
        ("Stop it", 1.0, pytest.approx(21)),
        ("other", 0.5, 20),
    ]


def test_grounders_agree_on_a_phrase_of_a_text_not_on_its_twin() -> None:
    spans = [("one", 0, 0.6), ("two", 0, 0.4), ("two", 9, 0.4)]
    found = [
        Triplet(
            id=str(i),
            source=s,
            text_id="t",
            phrase="a dog",
            start=n,
            end=n + 5,
            box=A,
            score=0.8,
            phrase_score=p,
        )
        for i, (s, n, p) in enumerate(spans)
    ]
    (result,) = Fuse(FuseConfig(sources=("one", "two")))(
        [Sample(key="k", size=(99, 99), annotations=Annotations(triplets=found))]
    )
    made = [t for t in result.triplets if not t.id]
    assert [(t.start, t.agreement, t.phrase_score) for t in made] == [
        (0, 1.0, pytest.approx(0.5)),
        (9, 0.5, 0.4),
    ]


def test_of_several_captions_the_one_nearest_to_the_others_stays() -> None:
    said = {"one": "A dog runs.", "two": "A dog runs on grass.", "three": "A cat sleeps."}
    texts = [Text(id=s, source=s, granularity="brief", text=t) for s, t in said.items()]
    (result,) = Fuse(FuseConfig(sources=tuple(said)))(
        [Sample(key="k", size=(99, 99), annotations=Annotations(texts=texts))]
    )
    assert {t.id: t.dropped for t in result.texts} == {
        "one": None,
        "two": "fused",
        "three": "fused",
    }
    assert result.texts[0].agreement == pytest.approx((1 + 6 / 8 + 2 / 6) / 3)


def test_a_region_has_the_brief_text_that_its_members_agree_on_most() -> None:
    said = [("a", "one", 0.5, "red dog"), ("b", "two", 0.4, "big dog"), ("c", "three", 0.4, None)]
    members = [replace(region(id_, s, A, p), brief=b, brief_kind="chunk") for id_, s, p, b in said]
    (made,), _ = fused(*members, sources=("one", "two", "three"))
    assert (made.brief, made.brief_kind) == ("red dog", "chunk")
    members[2] = replace(members[2], brief="big dog")
    (made,), _ = fused(*members, sources=("one", "two", "three"))
    assert made.brief == "big dog"
    (made,), _ = fused(region("a", "one"), region("b", "two"))
    assert (made.brief, made.brief_kind) == (None, None)
