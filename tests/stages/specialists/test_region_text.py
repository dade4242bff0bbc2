"""Candidates of regions: category, noun chunks and caption of the crop."""

from __future__ import annotations

import numpy as np

from pipeline.schema import HUMAN, Annotations, Box, Region
from stages.base import Sample
from stages.geometry import encode_mask
from stages.specialists.region_text import RegionText, RegionTextConfig, distinct_candidates

RED, BLUE = (214, 38, 40), (40, 82, 214)
CIRCLE: Box = (10.0, 10.0, 60.0, 60.0)
BLOCK: Box = (50.0, 20.0, 150.0, 120.0)


def image() -> np.ndarray:
    pixels = np.full((200, 200, 3), 128, np.uint8)
    pixels[10:60, 10:60] = RED
    pixels[20:120, 50:150] = BLUE
    return pixels


def run(*regions: Region, round: int = 0, style: str = "demo") -> dict[str, list[tuple[str, str]]]:
    sample = Sample(
        key="k",
        size=(200, 200),
        round=round,
        annotations=Annotations(regions=list(regions)),
        image=image(),
    )
    (result,) = RegionText(RegionTextConfig(style=style))([sample])
    return {r.id: [(c.text, c.kind) for c in r.candidates] for r in result.regions}


def region(id: str, box: Box = CIRCLE, phrase: str = "circle", **more: object) -> Region:
    return Region(**{"id": id, "box": box, "phrase": phrase, "score": 0.9, **more})


def test_a_lone_region_is_named_by_category_and_by_colour() -> None:
    assert run(region("a")) == {"a": [("circle", "phrase"), ("red circle", "chunk")]}


def test_an_overlapping_neighbour_enters_the_caption_and_its_noun_chunks() -> None:
    found = run(region("a"), region("b", BLOCK, "block"))
    assert found["a"] == [
        ("circle", "phrase"),
        ("red circle", "chunk"),
        ("large blue block", "chunk"),
        ("red circle touches a large blue block", "caption"),
    ]
    assert found["b"][1] == ("large blue block", "chunk")


def test_in_a_photo_the_mask_gives_the_colour_but_not_to_a_person() -> None:
    mask = np.zeros((200, 200), bool)
    mask[10:60, 10:50] = True
    seen = {"box": (5.0, 5.0, 70.0, 70.0), "mask": encode_mask(mask)}
    assert run(region("a", phrase="chair", **seen), style="photo") == {
        "a": [("chair", "phrase"), ("red chair", "chunk")]
    }
    assert run(region("a", phrase="chair"), style="photo") == {"a": [("chair", "phrase")]}
    assert run(region("a", phrase="person", **seen), style="photo") == {"a": [("person", "phrase")]}


def test_only_fresh_machine_regions_above_the_floor_that_lack_candidates_are_done() -> None:
    done = region("done", brief="red circle")
    assert (
        run(region("low", score=0.01), region("h", source=HUMAN), region("d", dropped="x"), done)
        == {}
    )
    assert list(run(region("old"), region("new", round=1), round=1)) == ["new"]


def test_candidates_lose_articles_doubles_and_chunks_without_meaning() -> None:
    found = distinct_candidates(
        "dog", "a small dog in front of it", ["A small dog", "front", "it", "the dog"]
    )
    assert [(c.text, c.kind) for c in found] == [
        ("dog", "phrase"),
        ("small dog", "chunk"),
        ("small dog in front of it", "caption"),
    ]


def test_a_sample_without_regions_passes_through() -> None:
    assert run() == {}
