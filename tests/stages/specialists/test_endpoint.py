"""Requests to a server: faults, waiting, stored answers, and the budget of tokens."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.base import Failed, StageError
from stages.specialists.token_budget import TokenBudget
from tests.stages.specialists.describing import Server, samples, stage

RUN = """
import sys
import numpy as np
from stages.base import Sample
from stages.specialists.describe_endpoint import DescribeConfig, EndpointDescribe

rng = np.random.default_rng(0)
images = [rng.integers(0, 256, (30, 40, 3), np.uint8) for _ in range(8)]
config = DescribeConfig(
    endpoint=sys.argv[1],
    model="tiny",
    cache=sys.argv[2],
    granularities=("detailed",),
    concurrency=1,
)
samples = [Sample(key=str(i), size=(40, 30), image=image) for i, image in enumerate(images)]
EndpointDescribe(config)(samples)
"""


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
@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (401, "", "401 Unauthorized: set FLD_TEST_KEY to a key that may use the model tiny"),
        (403, "", "403 Forbidden: set FLD_TEST_KEY to a key that may use the model tiny"),
        (404, "model_not_found", r"404 Not Found: set model \(now tiny\) and endpoint to what"),
        (402, "", "the key in FLD_TEST_KEY has no credit left"),
        (429, "insufficient_quota", "the key in FLD_TEST_KEY has no credit left"),
    ],
)
def test_a_fault_that_every_request_would_have_ends_the_run_in_one_line(
    status: int, code: str, advice: str, tmp_path: Path
) -> None:
    closed = Server(failures=99, status=status, code=code)
    settings = {"key_variable": "FLD_TEST_KEY", "cache": str(tmp_path), "concurrency": 1}
    with pytest.raises(StageError, match=advice) as raised:
        stage(closed.url, **settings)(samples(1))
    time.sleep(0.1)  # for the last line of the server
    closed.stop()
    assert "\n" not in str(raised.value) and closed.url in str(raised.value)
    assert len(closed.requests) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.subprocess
def test_a_request_that_the_server_calls_wrong_is_not_repeated() -> None:
    strict = Server(failures=99, status=400)
    (result,) = stage(strict.url, granularities=("detailed",))(samples(1))
    time.sleep(0.1)  # for the last line of the server
    strict.stop()
    assert result == Failed("endpoint_failed", "400 Bad Request")
    assert len(strict.requests) == 1


@pytest.mark.subprocess
def test_a_server_that_asks_to_wait_is_given_the_time() -> None:
    busy = Server(failures=1, status=429, retry_after=1)
    start = time.monotonic()
    (result,) = stage(busy.url, granularities=("detailed",), backoff=0.01)(samples(1))
    busy.stop()
    assert len(result.texts) == 1 and len(busy.requests) == 2
    assert time.monotonic() - start >= 1


@pytest.mark.subprocess
def test_the_wait_is_doubled_with_each_attempt() -> None:
    ill = Server(failures=3)
    start = time.monotonic()
    (result,) = stage(ill.url, granularities=("detailed",), backoff=0.2)(samples(1))
    ill.stop()
    assert len(result.texts) == 1
    assert time.monotonic() - start >= 0.2 + 0.4 + 0.8


@pytest.mark.subprocess
def test_an_answer_that_takes_too_long_is_a_failed_attempt() -> None:
    slow = Server(wait=5)
    (result,) = stage(slow.url, granularities=("detailed",), timeout=0.2, attempts=1)(samples(1))
    slow.stop()
    assert isinstance(result, Failed) and result.reason == "endpoint_failed"
    assert "timed out" in result.detail


@pytest.mark.subprocess
def test_a_reply_that_is_no_completion_is_a_failed_attempt_and_not_stored(tmp_path: Path) -> None:
    odd = Server(reply='{"error": "overloaded"}')
    settings = {"granularities": ("detailed",), "attempts": 2, "cache": str(tmp_path)}
    (result,) = stage(odd.url, **settings)(samples(1))
    odd.stop()
    assert result == Failed("endpoint_failed", "the answer is no chat completion")
    assert len(odd.requests) == 2 and list(tmp_path.iterdir()) == []


@pytest.mark.subprocess
def test_the_stored_answer_is_the_server_s_json_under_the_hash_of_the_request(
    server: Server, tmp_path: Path
) -> None:
    asking = stage(server.url, cache=str(tmp_path), granularities=("detailed",))
    (result,) = asking(samples(1))
    (file,) = tmp_path.glob("*.json")
    content = [{"type": "text", "text": asking.config.prompts["detailed"]}]
    content.append(asking.subject(samples(1)[0]))
    request = {
        "model": "tiny",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 400,
        "temperature": 0,
        "seed": 0,
    }
    body = json.dumps(request, sort_keys=True).encode()
    assert file.stem == hashlib.sha256(body).hexdigest()
    stored = json.loads(file.read_text())
    message = {"role": "assistant", "content": result.texts[0].text}
    assert stored["choices"] == [{"message": message, "finish_reason": "stop"}]
    assert stored["usage"] == {"total_tokens": 308} and set(stored) == {"choices", "usage"}


@pytest.mark.subprocess
def test_a_cache_that_cannot_be_written_ends_the_run_in_one_line(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StageError, match=r"cannot be written \(.*set `cache` to another folder"):
        stage(server.url, cache=str(tmp_path / "file"))
    asking = stage(server.url, cache=str(tmp_path / "cache"), granularities=("detailed",))
    (tmp_path / "cache").rmdir()
    with pytest.raises(StageError, match=r"cannot be written \(No such file or directory\)"):
        asking(samples(1))


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(StageError, match="endpoint=localhost:8000/v1: give a URL such as http"):
        stage("localhost:8000/v1")


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
    # Each answer takes 308 tokens, and may take up to 3.6 thousand: an image of 768 pixels and the
    # longest text.
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
    one, other = TokenBudget(100, tmp_path), TokenBudget(100, tmp_path)
    assert one.reserve(60)
    one.settle(60, 50)
    assert not other.reserve(51)
    assert other.reserve(50) and other.used == 50


def test_a_request_waits_for_those_in_flight_before_it_is_refused() -> None:
    budget = TokenBudget(100, None)
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
def test_the_key_comes_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLD_TEST_KEY", "k123")
    stage(server.url, key_variable="FLD_TEST_KEY", granularities=("detailed",))(samples(1))
    assert server.requests[-1] == "request Bearer k123"
