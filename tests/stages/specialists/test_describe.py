"""Detailed texts from a real server on loopback that serves a real (tiny) model."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.schema import Annotations, Region, Text, TextRegion
from stages.base import Failed, Sample
from stages.specialists.describe import DescribeConfig, EndpointDescribe, facts, judge

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
    def __init__(self, failures: int = 0, wait: float = 0.0) -> None:
        script = Path(__file__).with_name("endpoint.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(failures), str(wait)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}/v1"
        self.requests: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
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
    return [Sample(key=str(i), size=(40, 30), image=rng.integers(0, 256, (30, 40, 3), np.uint8)) for i in range(count)]


def stage(url: str, **settings: object) -> EndpointDescribe:
    return EndpointDescribe(DescribeConfig(endpoint=url, model="tiny", backoff=0.05, **settings))


def test_every_sample_gets_its_texts_in_order(server: Server) -> None:
    results = stage(server.url)(samples())
    assert [[t.granularity for t in r.texts] for r in results] == [["detailed", "more_detailed"]] * 4
    assert len({t.text for r in results for t in r.texts}) > 1
    assert all(t.text.startswith("word") and t.dropped is None for r in results for t in r.texts)


def test_nothing_is_asked_twice_after_a_restart(server: Server, tmp_path: Path) -> None:
    settings = {"cache": str(tmp_path), "granularities": ("detailed",)}
    before = len(server.requests)
    first = stage(server.url, **settings)(samples(2))
    again = stage(server.url, **settings)(samples(4))
    assert again[:2] == first
    assert len(server.requests) - before == 4


def test_a_killed_run_loses_no_answer_and_asks_only_for_the_rest(tmp_path: Path) -> None:
    slow = Server(wait=0.2)
    run = subprocess.Popen([sys.executable, "-c", RUN, slow.url, str(tmp_path)], cwd=Path(__file__).parents[3])
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


def test_passing_faults_are_tried_again_and_lasting_ones_fail_the_sample() -> None:
    ill = Server(failures=2)
    (result,) = stage(ill.url, granularities=("detailed",))(samples(1))
    assert len(result.texts) == 1 and len(ill.requests) == 3
    ill.stop()
    (result,) = stage(ill.url, granularities=("detailed",), attempts=2)(samples(1))
    assert isinstance(result, Failed) and result.reason == "endpoint_failed"


def test_the_budget_ends_the_asking_also_across_restarts(server: Server, tmp_path: Path) -> None:
    settings = {"cache": str(tmp_path), "granularities": ("detailed",), "concurrency": 1, "token_budget": 500}
    results = stage(server.url, **settings)(samples(4))  # some 300 tokens each
    assert [isinstance(r, Failed) for r in results] == [False, False, True, True]
    assert results[2].reason == "budget_spent"
    before = len(server.requests)
    assert [isinstance(r, Failed) for r in stage(server.url, **settings)(samples(4))] == [
        False,
        False,
        True,
        True,
    ]
    assert len(server.requests) == before


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


def test_without_anything_known_a_language_model_is_not_asked(server: Server) -> None:
    before = len(server.requests)
    assert len(stage(server.url, reads="labels")(samples(1))[0]) == 0
    assert len(server.requests) == before


def test_standing_texts_are_not_asked_for_again(server: Server) -> None:
    known = Text(id="t", granularity="detailed", text="A dog. It runs.")
    sample = Sample(key="k", size=(40, 30), image=samples(1)[0].image, annotations=Annotations(texts=[known]))
    (result,) = stage(server.url)([sample])
    assert [t.granularity for t in result.texts] == ["more_detailed"]


def test_the_key_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLD_TEST_KEY", "k123")
    stage(server.url, key_variable="FLD_TEST_KEY", granularities=("detailed",))(samples(1))
    assert server.requests[-1] == "request Bearer k123"


def test_a_granularity_without_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="prompts has none for brief"):
        stage("http://127.0.0.1:9/v1", granularities=("brief",))
