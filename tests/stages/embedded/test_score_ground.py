"""The choice of a brief text by pixels, and of boxes by words."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.schema import HUMAN, Annotations, Box, Candidate, NounPhrase, Parse, Region, Text
from stages.base import Sample
from stages.embedded.ground import GroundConfig, MatchGround, likeness
from stages.embedded.score import AppearanceScore, ScoreConfig, colour_shares
from stages.embedded.vocabulary import VOCABULARIES

BOX: Box = (20.0, 20.0, 70.0, 70.0)


def candidates(*texts: tuple[str, str]) -> list[Candidate]:
    return [Candidate(text=text, kind=kind) for text, kind in texts]


def choose(*texts: tuple[str, str], **more: object) -> list[Region]:
    image = np.full((192, 192, 3), 128, np.uint8)
    image[20:70, 20:70] = VOCABULARIES["demo"].colours["red"]
    region = Region(
        **{"id": "r", "box": BOX, "phrase": "block", "candidates": candidates(*texts), **more}
    )
    sample = Sample(
        key="k", size=(192, 192), annotations=Annotations(regions=[region]), image=image
    )
    (result,) = AppearanceScore(ScoreConfig())([sample])
    return result.regions


def test_the_share_of_a_colour_is_its_part_of_the_box() -> None:
    image = np.full((10, 10, 3), 128, np.uint8)
    image[:, :5] = VOCABULARIES["demo"].colours["red"]
    shares = colour_shares(image, (0.0, 0.0, 10.0, 10.0), VOCABULARIES["demo"].colours)
    assert shares["red"] == pytest.approx(0.5)
    assert sum(shares.values()) == pytest.approx(0.5)


def test_the_candidate_that_fits_the_pixels_wins_and_all_scores_are_kept() -> None:
    texts = (
        ("block", "phrase"),
        ("blue block", "chunk"),
        ("red block", "chunk"),
        ("red thing", "chunk"),
    )
    (region,) = choose(*texts)
    assert (region.brief, region.brief_kind) == ("red block", "chunk")
    assert [round(c.score, 2) for c in region.candidates] == [0.5, 0.35, 0.95, 0.75]


def test_the_category_wins_where_no_colour_fits() -> None:
    (region,) = choose(("block", "phrase"), ("blue block", "chunk"))
    assert (region.brief, region.brief_kind) == ("block", "phrase")


def test_a_whole_caption_wins_only_if_it_says_more_that_can_be_seen() -> None:
    (region,) = choose(("red block", "chunk"), ("red block that touches a blue star", "caption"))
    assert region.brief_kind == "chunk"


@pytest.mark.parametrize("more", [{"source": HUMAN}, {"brief": "x"}, {"score": 0.01}, {"round": 3}])
def test_human_decided_faint_and_old_regions_are_left_alone(more: dict[str, object]) -> None:
    assert choose(("block", "phrase"), **more) == []


def ground(
    text: str, phrases: list[str], *regions: Region
) -> list[tuple[str, list[str], float | None]]:
    spans = [NounPhrase(text=p, start=text.index(p), end=text.index(p) + len(p)) for p in phrases]
    parse = Parse(
        tokens=0,
        objects=[],
        attributes=[],
        actions=[],
        proper_nouns=[],
        object_complexity=0,
        action_complexity=0,
        object_complexity_mean=0.0,
        action_complexity_mean=0.0,
        noun_phrases=spans,
    )
    annotations = Annotations(
        [Text(id="t", granularity="brief", text=text, parse=parse)], list(regions)
    )
    (result,) = MatchGround(GroundConfig())([Sample(key="k", size=(9, 9), annotations=annotations)])
    assert all(text[t.start : t.end] == t.phrase for t in result.triplets)
    return [(t.phrase, t.parents[1:], t.phrase_score) for t in result.triplets]


def region(id: str, brief: str, score: float = 0.8, phrase: str = "") -> Region:
    return Region(id=id, box=BOX, phrase=phrase or brief.split()[-1], brief=brief, score=score)


def test_a_phrase_takes_the_region_whose_words_fit_best() -> None:
    found = ground(
        "A red star.", ["A red star"], region("a", "blue star", 0.9), region("b", "red star", 0.5)
    )
    assert found == [("A red star", ["b"], 1.0)]


def test_a_phrase_whose_attribute_is_wrong_still_finds_its_head_with_a_lower_score() -> None:
    assert ground("A red star.", ["A red star"], region("a", "blue star")) == [
        ("A red star", ["a"], pytest.approx(1 / 3))
    ]


def test_a_phrase_without_a_region_gives_nothing() -> None:
    assert ground("A red ring.", ["A red ring"], region("a", "red star")) == []


def test_counted_and_plural_phrases_take_several_regions_best_first() -> None:
    people = [region(f"p{i}", "person", 0.5 + i / 10) for i in range(3)]
    assert [p[1] for p in ground("Two people stand.", ["Two people"], *people)] == [["p2"], ["p1"]]
    assert [p[1] for p in ground("People stand.", ["People"], *people)] == [["p2"], ["p1"], ["p0"]]
    assert [p[1] for p in ground("A person stands.", ["A person"], *people)] == [["p2"]]


def test_likeness_ignores_articles_numbers_and_case() -> None:
    assert likeness("The Red Star", region("a", "red star")) == 1.0
    assert likeness("the", region("a", "red star")) == 0.0
