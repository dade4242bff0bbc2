"""Detailed texts from a real server on loopback that serves a real (tiny) model."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.schema import Annotations, Region, Text, TextRegion
from stages.base import Failed, Sample
from stages.specialists.describe import DescribeConfig, EndpointDescribe, facts, judge
from stages.specialists.endpoint import Budget

QUAD = (0.0, 0.0, 9.0, 0.0, 9.0, 5.0, 0.0, 5.0)


RUN = """
import sys
import numpy as np
from stages.base import Sample
from stages.specialists.describe import DescribeConfig, EndpointDescribe

rng = np.random.default_rng(0)
images = [rng.integers(0, 256, (30, 40, 3), np.uint8) for _ in range(8)]
config = DescribeConfig(
    endpoint=sys.argv[1], model="tiny", cache=sys.argv[2], granularities=("detailed",), concurrency=1
)
EndpointDescribe(config)([Sample(key=str(i), size=(40, 30), image=image) for i, image in enumerate(images)])
"""


class Server:
    def __init__(self, failures: int = 0, wait: float = 0.0, port: int = 0) -> None:
        script = Path(__file__).with_name("endpoint.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(failures), str(wait), str(port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.requests: list[str] = []
        self.answers: list[int] = []  # the tokens of each
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("answer"):
                self.answers.append(int(line.split()[1]))
            else:
                self.requests.append(line.strip())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def samples(count: int = 4) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        Sample(key=str(i), size=(40, 30), image=rng.integers(0, 256, (30, 40, 3), np.uint8))
        for i in range(count)
    ]


def stage(url: str, **settings: object) -> EndpointDescribe:
    return EndpointDescribe(
        DescribeConfig(endpoint=url, model="tiny", **{"backoff": 0.05, **settings})
    )


@pytest.mark.subprocess
def test_every_sample_gets_its_texts_in_order(server: Server) -> None:
    results = stage(server.url)(samples())
    assert [[t.granularity for t in r.texts] for r in results] == [
        ["detailed", "more_detailed"]
    ] * 4
    assert len({t.text for r in results for t in r.texts}) > 1
    assert all(t.text.startswith("word") and t.dropped is None for r in results for t in r.texts)


@pytest.mark.subprocess
def test_nothing_is_asked_twice_after_a_restart(server: Server, tmp_path: Path) -> None:
    settings = {"cache": str(tmp_path), "granularities": ("detailed",)}
    before = len(server.requests)
    first = stage(server.url, **settings)(samples(2))
    again = stage(server.url, **settings)(samples(4))
    assert again[:2] == first
    assert len(server.requests) - before == 4


@pytest.mark.subprocess
def test_a_killed_run_loses_no_answer_and_asks_only_for_the_rest(tmp_path: Path) -> None:
    slow = Server(wait=0.2)
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, slow.url, str(tmp_path)], cwd=Path(__file__).parents[3]
    )
    while len(list(tmp_path.glob("*.json"))) < 3:
        assert run.poll() is None
    run.kill()
    run.wait()
    saved = len(list(tmp_path.glob("*.json")))
    asked = len(slow.requests)
    results = stage(slow.url, cache=str(tmp_path), granularities=("detailed",))(samples(8))
    slow.stop()
    assert [len(r.texts) for r in results] == [1] * 8
    assert len(slow.requests) - asked == 8 - saved < 6


@pytest.mark.subprocess
def test_passing_faults_are_tried_again_and_lasting_ones_fail_the_sample() -> None:
    ill = Server(failures=2)
    (result,) = stage(ill.url, granularities=("detailed",))(samples(1))
    assert len(result.texts) == 1 and len(ill.requests) == 3
    ill.stop()
    (result,) = stage(ill.url, granularities=("detailed",), attempts=2)(samples(1))
    assert isinstance(result, Failed) and result.reason == "endpoint_failed"


@pytest.mark.subprocess
def test_a_killed_server_loses_no_sample_and_is_asked_nothing_twice(tmp_path: Path) -> None:
    first = Server(wait=0.15)
    patient = {
        "backoff": 0.3,
        "attempts": 11,
    }  # a server takes minutes to come up on a machine with much to do
    asking = stage(
        first.url, cache=str(tmp_path), granularities=("detailed",), concurrency=2, **patient
    )
    results: list[Any] = []
    run = threading.Thread(target=lambda: results.extend(asking(samples(8))))
    run.start()
    while len(first.answers) < 3:
        time.sleep(0.01)
    first.stop()
    time.sleep(0.3)
    second = Server(port=first.port)
    run.join()
    time.sleep(0.3)  # for the last line of the server
    second.stop()
    assert [[t.dropped for t in r.texts] for r in results] == [[None]] * 8
    assert len(first.answers) >= 3 and len(first.answers) + len(second.answers) == 8
    assert sum(map(int, (tmp_path / "spent.txt").read_text().split())) == sum(
        first.answers + second.answers
    )


@pytest.mark.subprocess
def test_the_budget_is_never_exceeded_by_any_number_of_askers_or_restarts(
    server: Server, tmp_path: Path
) -> None:
    # Each answer takes 308 tokens, and may take up to 3.6 thousand: an image of 768 pixels and the longest text.
    settings = {"cache": str(tmp_path), "granularities": ("detailed",), "token_budget": 4500}
    before = len(server.answers)
    results = stage(server.url, **settings)(samples(8))
    failed = [r for r in results if isinstance(r, Failed)]
    assert {r.reason for r in failed} == {"budget_spent"} and len(failed) == 5
    time.sleep(0.1)
    assert len(server.answers) - before == 3
    again = stage(server.url, **settings)(samples(8))
    assert again == results
    assert len(server.answers) - before == 3


def test_processes_that_share_a_cache_share_the_budget(tmp_path: Path) -> None:
    config = DescribeConfig(
        endpoint="http://127.0.0.1:9/v1", model="m", cache=str(tmp_path), token_budget=100
    )
    one, other = Budget(config), Budget(config)
    assert one.reserve(60)
    one.settle(60, 50)
    assert not other.reserve(51)
    assert other.reserve(50) and other.spent == 50


def test_a_request_waits_for_those_in_flight_before_it_is_refused() -> None:
    budget = Budget(DescribeConfig(endpoint="http://127.0.0.1:9/v1", model="m", token_budget=100))
    assert budget.reserve(80)
    answers: list[bool] = []
    late = threading.Thread(target=lambda: answers.append(budget.reserve(80)))
    late.start()
    time.sleep(0.05)
    assert answers == []
    budget.settle(80, 10)
    late.join(5)
    assert answers == [True]


@pytest.mark.subprocess
def test_equal_images_of_a_batch_are_asked_once(server: Server, tmp_path: Path) -> None:
    before = len(server.requests)
    twins = [replace(samples(1)[0], key=str(i)) for i in range(6)]
    results = stage(server.url, cache=str(tmp_path), granularities=("detailed",))(twins)
    assert len({r.texts[0].text for r in results}) == 1
    assert len(server.requests) - before == 1


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
    told = asking.request(
        asking.config.prompts["detailed"], asking.subject(replace(samples(1)[0], annotations=known))
    )
    parts = told["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "text"] and "A dog runs." in parts[1][
        "text"
    ]


@pytest.mark.subprocess
def test_an_answer_that_was_cut_off_is_stored_and_dropped(server: Server) -> None:
    (result,) = stage(server.url, granularities=("detailed",), max_tokens=3)(samples(1))
    assert [t.dropped for t in result.texts] == ["cut_off"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"message": {"content": " A dog. "}, "finish_reason": "stop"}, ("A dog.", None)),
        (
            {"message": {"content": "I\u2019m sorry, but I can't help."}},
            ("I\u2019m sorry, but I can't help.", "refused"),
        ),
        ({"message": {"content": None, "refusal": "No."}}, ("No.", "refused")),
        ({"message": {"content": "A"}, "finish_reason": "content_filter"}, ("A", "refused")),
        ({"message": {"content": "A do"}, "finish_reason": "length"}, ("A do", "cut_off")),
        ({"message": {"content": ""}, "finish_reason": "stop"}, ("", "empty_answer")),
    ],
)
def test_answers_are_judged(choice: dict, expected: tuple[str, str | None]) -> None:
    assert judge(choice) == expected


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
    assert facts(sample, 0.3) == (
        'Caption: A dog runs.\nObject: brown dog, centre at 25% from the left and 50% from the top\nText: "STOP"'
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


@pytest.mark.subprocess
def test_the_key_comes_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLD_TEST_KEY", "k123")
    stage(server.url, key_variable="FLD_TEST_KEY", granularities=("detailed",))(samples(1))
    assert server.requests[-1] == "request Bearer k123"


def test_a_granularity_without_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="prompts has none for brief"):
        stage("http://127.0.0.1:9/v1", granularities=("brief",))
