"""Progress where standard error is no terminal: whole lines, and few of them."""

from __future__ import annotations

import pytest

from pipeline.execution import progress as shown
from pipeline.execution.progress import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the clock shows; a test changes the first of them."""
    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("round 0: detect", "shard", 1200) as bar:
        for _ in range(1200):
            clock[0] += 0.025
            bar.update()
    out, err = capsys.readouterr()
    assert out == "" and "\r" not in err
    assert err.splitlines() == [
        "round 0: detect: 400/1,200 shards, 10 s, 20 s left",
        "round 0: detect: 800/1,200 shards, 20 s, 10 s left",
        "round 0: detect: 1,200/1,200 shards, 30 s",
    ]


def test_words_and_an_unknown_total_are_told(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("train", "step") as bar:
        bar.set_postfix_str("loss 1.500", refresh=False)
        bar.update(7)
    assert capsys.readouterr().err == "train: 7 steps, 0 s, loss 1.500\n"


def test_a_step_that_fails_tells_how_far_it_came(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="wrong"), progress("verify", "file", 9) as bar:
        bar.update(2)
        clock[0] += 6
        raise ValueError("wrong")
    assert capsys.readouterr().err == "verify: 2/9 files, 6 s, 21 s left\n"


def test_a_step_that_fails_before_it_began_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no release"), progress("verify", "shard"):
        raise ValueError("no release there")
    assert capsys.readouterr().err == ""
