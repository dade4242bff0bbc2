"""Answers beside the truth."""

from __future__ import annotations

from typing import Any

import pytest

from stages.base import Sample
from stages.embedded.scenes import DEMO, render
from stages.florence.detokenise import detokenise
from stages.florence.examine import Examine, ExamineConfig, only_texts, read_places
from stages.florence.generation import Question
from stages.florence.inference import FlorenceInference
from stages.florence.model import load
from stages.florence.tasks import TASKS

SCENE = render(DEMO, 0, 3)
SAMPLE = Sample(key="a", size=(192, 192), annotations=SCENE.truth, image=SCENE.image)


def test_every_example_that_the_truth_gives_is_asked_once() -> None:
    config = ExamineConfig(
        model="nano",
        tasks=("<CAPTION>", "<OD>", "<REGION_TO_CATEGORY>"),
        resolution=64,
        max_tokens=8,
        device="cpu",
    )
    (entries,) = Examine(config)([SAMPLE])
    regions = SCENE.truth.regions
    assert [e["task"] for e in entries] == [
        "<CAPTION>",
        "<OD>",
        *["<REGION_TO_CATEGORY>"] * len(regions),
    ]
    assert entries[0]["target"] == SCENE.truth.texts[0].text and entries[0]["answer"]
    assert len({e["prompt"] for e in entries}) == len(entries)
    assert sorted(p["label"] for p in entries[1]["expected"]) == sorted(r.phrase for r in regions)
    assert [e["expected"][0]["label"] for e in entries[2:]] == [r.phrase for r in regions]


def test_answers_come_from_as_many_beams_as_are_asked_for() -> None:
    nano, prompt = load("nano"), TASKS["<CAPTION>"].prompt
    for beams in (1, 3):
        config = ExamineConfig(
            model="nano", tasks=("<CAPTION>",), resolution=64, beams=beams, device="cpu"
        )
        (entries,) = Examine(config)([SAMPLE])
        inference = FlorenceInference(nano, 64, beams=beams)
        features = inference.encode_images([SAMPLE.pixels])
        (tokens,) = inference.answer(features, [Question(0, prompt, "text", 256)])
        assert entries[0]["answer"] == detokenise(nano, tokens).text


def test_only_the_texts_that_are_asked_about_have_phrases() -> None:
    shown = only_texts(SCENE.truth, ("brief",))
    assert [t.granularity for t in shown.texts] == ["brief"]
    assert {t.text_id for t in shown.triplets} == {shown.texts[0].id}


@pytest.mark.parametrize("token", TASKS)
def test_what_a_target_says_is_read_back(token: str) -> None:
    kind = TASKS[token].answer_kind
    examples = TASKS[token].examples(SCENE.truth, SAMPLE.size)
    places: list[dict[str, Any]] = []
    for example in examples:
        places += read_places(kind, example.target, SAMPLE.size)
    assert bool(places) == (bool(examples) and kind != "text")
    for place in places:
        corners = place.get("points") or place["polygons"][0]
        assert len(corners) in (4, 8) or "polygons" in place
        assert all(0 <= corner <= 192 for corner in corners)
