"""Sweeps: which words have several values, and where each run works."""

from __future__ import annotations

import pytest

from pipeline.config.sweep import expand, is_swept, split_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2", ["1", "2"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ("{a: 1, b: 2}", ["{a: 1, b: 2}"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("what's new,old", ["what's new", "old"]),
        (":),b", [":)", "b"]),
        ("", [""]),
    ],
)
def test_commas_in_brackets_and_quotes_separate_no_values(text: str, values: list[str]) -> None:
    assert split_values(text) == values


def test_every_combination_is_a_run_with_a_folder_named_by_its_values() -> None:
    runs = expand(["experiment=demo", "seed=1,2", "train.stages=[[64,6]],[[64,9]]"])
    assert [run.name for run in runs] == [
        "seed=1,train.stages=_64_6",
        "seed=1,train.stages=_64_9",
        "seed=2,train.stages=_64_6",
        "seed=2,train.stages=_64_9",
    ]
    assert runs[2].overrides == ("experiment=demo", "seed=2", "train.stages=[[64,6]]")


def test_work_may_be_swept_itself() -> None:
    assert is_swept(["work=a,b", "seed=1"], "work")
    assert not is_swept(["work=a", "seed=1,2"], "work")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed=1"], "-m: nothing to sweep; give several values to a setting, such as a=1,2"),
        (["seed=1,1"], "-m: two runs would have the same work folder; give each value once"),
        (["source.path=a b,a?b"], "-m: two runs would have the same work folder"),
    ],
)
def test_what_is_no_sweep_is_told(words: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        expand(words)
