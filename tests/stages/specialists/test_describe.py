"""Detailed texts from a real server on loopback that serves a real (tiny) model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.schema import Annotations, Region, Text, TextRegion
from stages.base import Sample, StageError
from stages.specialists.describe_endpoint import labels_as_text
from stages.specialists.detailed_texts import Answer, judge
from tests.stages.specialists.describing import Server, samples, stage

QUAD = (0.0, 0.0, 9.0, 0.0, 9.0, 5.0, 0.0, 5.0)


@pytest.mark.subprocess
def test_every_sample_gets_its_texts_in_order(server: Server) -> None:
    results = stage(server.url)(samples())
    assert [[t.granularity for t in r.texts] for r in results] == [
        ["detailed", "more_detailed"]
    ] * 4
    assert len({t.text for r in results for t in r.texts}) > 1
    assert all(t.text.startswith("word") and t.dropped is None for r in results for t in r.texts)


@pytest.mark.subprocess
def test_a_language_model_aggregates_the_brief_text_and_the_regions(server: Server) -> None:
    known = Annotations(
        texts=[Text(id="t", granularity="brief", text="A dog runs.")],
        regions=[Region(id="a", box=(0.0, 0.0, 20.0, 30.0), phrase="dog", score=0.9)],
    )
    asking = stage(server.url, reads="labels")
    (result,) = asking([replace(samples(1)[0], annotations=known)])
    assert [(t.granularity, t.dropped) for t in result.texts] == [
        ("detailed", None),
        ("more_detailed", None),
    ]
    subject = asking.subject(replace(samples(1)[0], annotations=known))
    assert subject["type"] == "text" and "A dog runs." in subject["text"]


@pytest.mark.subprocess
def test_an_answer_that_was_cut_off_is_stored_and_dropped(server: Server) -> None:
    (result,) = stage(server.url, granularities=("detailed",), max_tokens=3)(samples(1))
    assert [t.dropped for t in result.texts] == ["cut_off"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(" A dog. ", "stop"), ("A dog.", None)),
        (
            Answer("I\u2019m sorry, but I can't help.", None),
            ("I\u2019m sorry, but I can't help.", "refused"),
        ),
        (Answer("", None, refusal="No."), ("No.", "refused")),
        (Answer("A", "content_filter"), ("A", "refused")),
        (Answer("A do", "length"), ("A do", "cut_off")),
        (Answer("", "stop"), ("", "empty_answer")),
    ],
)
def test_answers_are_judged(answer: Answer, expected: tuple[str, str | None]) -> None:
    assert judge(answer) == expected


@pytest.mark.subprocess
def test_a_server_s_refusal_without_content_is_stored_and_dropped() -> None:
    message = '{"choices": [{"message": {"content": null, "refusal": "No."}}]}'
    refusing = Server(reply=message)
    (result,) = stage(refusing.url, granularities=("detailed",))(samples(1))
    refusing.stop()
    assert [(t.text, t.dropped) for t in result.texts] == [("No.", "refused")]


def test_a_language_model_is_told_what_is_known_and_nothing_dropped_or_unsure() -> None:
    annotations = Annotations(
        texts=[Text(id="t", granularity="brief", text="A dog runs.")],
        regions=[
            Region(id="a", box=(0.0, 0.0, 20.0, 30.0), phrase="dog", brief="brown dog", score=0.9),
            Region(id="b", box=(0.0, 0.0, 9.0, 9.0), phrase="cat", score=0.1),
            Region(id="c", box=(0.0, 0.0, 9.0, 9.0), phrase="bus", dropped="low_score"),
        ],
        text_regions=[TextRegion(id="o", quad=QUAD, text="STOP", score=0.8)],
    )
    sample = Sample(key="k", size=(40, 30), annotations=annotations)
    assert labels_as_text(sample, 0.3) == (
        "Caption: A dog runs.\n"
        "Object: brown dog, centre at 25% from the left and 50% from the top\n"
        'Text: "STOP"'
    )


@pytest.mark.subprocess
def test_without_anything_known_a_language_model_is_not_asked(server: Server) -> None:
    before = len(server.requests)
    assert len(stage(server.url, reads="labels")(samples(1))[0]) == 0
    assert len(server.requests) == before


@pytest.mark.subprocess
def test_standing_texts_are_not_asked_for_again(server: Server) -> None:
    known = Text(id="t", granularity="detailed", text="A dog. It runs.")
    sample = Sample(
        key="k", size=(40, 30), image=samples(1)[0].image, annotations=Annotations(texts=[known])
    )
    (result,) = stage(server.url)([sample])
    assert [t.granularity for t in result.texts] == ["more_detailed"]


def test_a_granularity_without_a_prompt_is_refused() -> None:
    with pytest.raises(StageError, match="prompts has none for brief"):
        stage("http://127.0.0.1:9/v1", granularities=("brief",))
