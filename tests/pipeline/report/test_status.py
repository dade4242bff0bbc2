"""`fld status` of a run that ended before its work was done: where, why, and how it goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.errors import DiskFull, Terminated
from pipeline.ingest.assignment_log import ShardAssignment, append_assignments
from pipeline.plan.journal import NodeRef
from pipeline.report.status import LEFT_TO_DO, RunStatus, status
from pipeline.report.terminal import status_text
from pipeline.storage import layout, layout_journal, lease
from pipeline.storage.manifest import Manifest
from pipeline.storage.process import this_process
from pipeline.storage.store import Store


def ended(store: Store, done: int, error: BaseException | None, total: int = 3) -> RunStatus:
    """The status of a run on `total` shards that ended with an error when some were done."""
    names = [layout.shard_name(number) for number in range(total)]
    append_assignments(store, [ShardAssignment(shard=name, name=name) for name in names])
    with suppress(KeyboardInterrupt, DiskFull, ValueError, MemoryError), lease.held(store):
        for name in names[:done]:
            counts = {"in": 2, "kept": 2, "dropped": {}, "failed": {}}
            manifest = Manifest(shard=name, inputs="aa", files={}, samples=counts)
            store.publish_manifest(layout.IMAGES, manifest)
        if error:
            raise error
    return status(store, 0)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (KeyboardInterrupt(), "Ctrl-C"),
        (Terminated(), "it was asked to end (SIGTERM)"),
        (DiskFull("/w: No space left on device"), "/w: No space left on device"),
        (ValueError("two\nlines"), "two lines"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_run_that_was_stopped_says_where_and_why(
    error: BaseException, why: str, tmp_path: Path
) -> None:
    state = ended(Store(str(tmp_path)), 1, error)
    assert state["state"] == "stopped"
    assert state["stopped"] == {"where": "ingest", "done": 1, "total": 3, "why": why}
    lines = status_text(state).splitlines()
    assert lines[0] == f"{tmp_path}: stopped"
    assert f"stopped at ingest, 1 of 3 done: {why}" in lines
    again = f"fld run --config {tmp_path}/config.yaml"
    assert f"the same `fld run` goes on from there, or: {again}" in lines


def test_a_run_that_did_everything_is_finished(tmp_path: Path) -> None:
    state = ended(Store(str(tmp_path)), 3, None)
    assert (state["state"], state["stopped"]) == ("finished", None)


def test_a_run_is_not_finished_by_another_command_that_ends_well(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    ended(store, 1, KeyboardInterrupt())
    with lease.held(store):
        pass
    state = status(store, 0)
    assert state["state"] == "stopped"
    assert state["stopped"] == {"where": "ingest", "done": 1, "total": 3, "why": LEFT_TO_DO}


def test_a_run_that_stopped_between_shards_names_its_last_step(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    step = {"title": "round 1: train", "done": 20, "total": 120, "started": 1.0, "now": 2.0}
    store.publish_json(layout_journal.PROGRESS, step)
    state = ended(store, 3, KeyboardInterrupt())
    assert "stopped at round 1: train, 20 of 120 done: Ctrl-C" in status_text(state)
    store.publish_json(layout_journal.PROGRESS, {**step, "done": 120})
    assert "stopped after round 1: train: Ctrl-C" in status_text(status(store, 0))


def test_a_stage_that_only_counts_is_shown_if_nothing_else_is_left_to_do(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    detect = NodeRef(name="0.detect", folder="signals/detect-aa", kind="signals", round=0)
    counts = NodeRef(name="0.summary", folder="summaries/summary-bb", kind="summary", round=0)
    store.publish_json(layout_journal.GRAPH, [asdict(detect), asdict(counts)])

    def shown() -> list[str]:
        return [stage["stage"] for stage in status(store, 0)["stages"]]

    def finish(node: NodeRef) -> None:
        for number in range(3):
            samples = {"in": 2, "kept": 2, "dropped": {}, "failed": {}}
            shard = layout.shard_name(number)
            manifest = Manifest(shard=shard, inputs="aa", files={}, samples=samples)
            store.publish_manifest(node.folder, manifest)

    ended(store, 3, KeyboardInterrupt())
    assert shown() == ["ingest", "0.detect"]
    finish(detect)
    assert shown() == ["ingest", "0.detect", "0.summary"]
    assert "stopped at 0.summary, 0 of 3 done: Ctrl-C" in status_text(status(store, 0))
    finish(counts)
    assert shown() == ["ingest", "0.detect"]


def killed(store: Store) -> Mapping[str, object]:
    """The lease of a driver of this host that runs no more."""
    return {**this_process(), "started": "another time", "beat": 1.0}


def test_a_run_that_was_killed_is_stale_and_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    ended(store, 1, None)
    store.publish_json(layout_journal.LEASE, killed(store))
    text = status_text(status(store, 0))
    assert f"{tmp_path}: stale" in text
    assert "1 of 3 done: its process ended without a word (killed, or the machine went" in text


def test_the_reason_is_written_where_no_new_file_can_be(tmp_path: Path) -> None:
    """As on a full disk, where only the room of the old file is left."""
    store = Store(str(tmp_path))

    def fill() -> None:
        store.remove(layout_journal.TEMPORARY)
        (tmp_path / layout_journal.TEMPORARY).write_text("no folder, so no file can be made in it")
        raise DiskFull("/w: No space left on device")

    with pytest.raises(DiskFull), lease.held(store):
        fill()
    held = lease.holder(store)
    assert held is not None and held["why"] == "/w: No space left on device"
    assert held["state"] == "stopped"
    json.loads((tmp_path / layout_journal.LEASE).read_text())


def test_a_folder_that_cannot_be_written_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not even root may make a folder in /proc."""
    assert cli.main(["run", "work=/proc/no-folder", "source.count=2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"fld: error: /proc/no-folder: {os.strerror(2)}"
