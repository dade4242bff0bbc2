import json
from pathlib import Path

import pytest

from pipeline.storage.rounds import (
    Head,
    HeadAttempt,
    RoundState,
    open_round,
    publish_head,
    publish_round_state,
    read_head,
    read_round_state,
)
from pipeline.storage.store import Store

ATTEMPTS = [
    HeadAttempt(round="00-aa", model=None, status="accepted"),
    HeadAttempt(round="01-bb", model="models/01-cc", status="rejected"),
]


def test_the_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert read_head(store) is None
    head = Head(round="00-aa", model=None, attempts=ATTEMPTS)
    publish_head(store, head)
    assert read_head(store) == head and head.folder == "rounds/00-aa"
    plain = json.loads((tmp_path / "head.json").read_text())
    assert plain["attempts"][1] == {
        "round": "01-bb",
        "model": "models/01-cc",
        "status": "rejected",
    }


def test_the_state_of_a_round_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert read_round_state(store, "rounds/01-bb") is None
    state = RoundState(
        round=1,
        parent="00-aa",
        model="models/01-cc",
        models=["models/01-cc"],
        status="rejected",
        reason="worse",
        evidence={"kind": "truth"},
        levels={"texts": {"add": None}},
    )
    publish_round_state(store, "rounds/01-bb", state)
    assert read_round_state(store, "rounds/01-bb") == state


def test_a_work_folder_without_a_finished_run_has_no_round_to_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no round there; give WORK/rounds/NN-"):
        open_round(str(tmp_path))
    with pytest.raises(ValueError, match="no finished round there"):
        open_round(f"{tmp_path}/rounds/00-aa")
