import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import LeaseLost, Terminated
from pipeline.execution import attempts
from pipeline.storage import layout_journal, lease
from pipeline.storage.process import this_process
from pipeline.storage.store import Store

ELSEWHERE = {"host": "elsewhere", "boot": "b", "pid": 1, "started": "1"}


def _dead_process() -> dict[str, object]:
    """The description of a process of this boot that has ended."""
    code = (
        "import json; from pipeline.storage.process import this_process;"
        " print(json.dumps(this_process()))"
    )
    import json

    made: dict[str, object] = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )
    return made


def test_a_second_driver_is_kept_out_and_told_by_whom(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with lease.held(store):
        with pytest.raises(ValueError, match=f"in use by process {os.getpid()}"), lease.held(store):
            pass
        state = lease.holder(store)
        assert state is not None and state["state"] == "running"
    state = lease.holder(store)
    assert state is not None and state["state"] == "finished"


def test_of_two_drivers_that_start_at_the_same_moment_one_gets_the_lease(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with lease.held(store):
        (tmp_path / layout_journal.LEASE).unlink()  # as the second one saw it when it looked
        with pytest.raises(ValueError, match="another process has just begun"), lease.held(store):
            pass


@pytest.mark.subprocess
def test_the_lease_of_a_dead_process_is_taken_over_at_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.publish_json(layout_journal.LEASE, {**_dead_process(), "beat": 9e9})
    state = lease.holder(store)
    assert state is not None and state["state"] == "stale"
    with lease.held(store):
        pass


def test_a_lease_on_another_host_counts_for_a_minute_after_its_last_beat(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for age, expected in ((5, "running"), (70, "stale")):
        store.publish_json(layout_journal.LEASE, {**ELSEWHERE, "beat": time.time() - age})
        state = lease.holder(store)
        assert state is not None and state["state"] == expected


@pytest.mark.parametrize("ahead", [0.0, 3600.0], ids=["same clock", "clock ahead"])
def test_a_silent_driver_of_another_host_is_taken_over_once_it_counts_as_dead(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ahead: float,
) -> None:
    monkeypatch.setattr(lease, "DEAD_AFTER_SECONDS", 0.4)
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.05)
    store = Store(str(tmp_path))
    store.publish_json(layout_journal.LEASE, {**ELSEWHERE, "beat": time.time() + ahead})
    begun = time.monotonic()
    with lease.held(store):
        assert 0.2 < time.monotonic() - begun < 10
        now = lease.holder(store)
        assert now is not None and now["pid"] == os.getpid()
    assert caplog.messages == [
        f"work={store.url}: process 1 on elsewhere may be dead; "
        "taking over in 0 s if it gives no sign"
    ]


def test_a_driver_of_another_host_that_gives_a_sign_keeps_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.05)
    store = Store(str(tmp_path))
    now = time.time()
    store.publish_json(layout_journal.LEASE, {**ELSEWHERE, "beat": now - 9})
    sign = {**ELSEWHERE, "beat": now}
    timer = threading.Timer(0.2, store.publish_json, (layout_journal.LEASE, sign))
    timer.start()
    message = "in use by process 1 on elsewhere; wait for it or stop it"
    with pytest.raises(ValueError, match=message), lease.held(store):
        pass
    timer.join()
    assert time.time() - now < lease.DEAD_AFTER_SECONDS / 2


def test_a_driver_of_another_host_that_ends_is_followed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.05)
    store = Store(str(tmp_path))
    now = time.time()
    store.publish_json(layout_journal.LEASE, {**ELSEWHERE, "beat": now})
    ended = {**ELSEWHERE, "beat": now + 0.2, "released": True, "why": ""}
    timer = threading.Timer(0.2, store.publish_json, (layout_journal.LEASE, ended))
    timer.start()
    with lease.held(store):
        pass
    timer.join()
    assert time.time() - now < lease.DEAD_AFTER_SECONDS / 2


@pytest.mark.subprocess
def test_the_third_attempt_after_two_deaths_is_isolated(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    seen = []
    for i in range(3):
        with attempts.mark(store, "detect-1", "shard-0") as isolated:
            seen.append(isolated)
            dead = {
                f"journal/attempts/detect-1/shard-0/dead{k}.json": _dead_process()
                for k in range(i + 1)
            }
        for name, who in dead.items():
            store.publish_json(name, who)
    assert seen == [False, False, True]


@pytest.mark.subprocess
def test_marks_of_an_earlier_boot_do_not_count(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for k in range(5):
        store.publish_json(
            f"journal/attempts/detect-1/shard-0/{k}.json", {**_dead_process(), "boot": "before"}
        )
    with attempts.mark(store, "detect-1", "shard-0") as isolated:
        assert not isolated


@pytest.mark.parametrize(("mine", "counts"), [(True, True), (False, False)])
def test_marks_of_another_host_count_when_the_present_run_made_them(
    tmp_path: Path, mine: bool, counts: bool
) -> None:
    store = Store(str(tmp_path))
    with lease.held(store):
        run = this_process() if mine else {**this_process(), "started": "yesterday"}
        for k in range(2):
            elsewhere = {"host": "elsewhere", "boot": "b", "pid": 1, "started": "1", "run": run}
            store.publish_json(f"journal/attempts/detect-1/shard-0/{k}.json", elsewhere)
        with attempts.mark(store, "detect-1", "shard-0") as isolated:
            assert isolated == counts


def test_an_error_that_python_sees_leaves_no_mark(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(OSError), attempts.mark(store, "detect-1", "shard-0"):
        raise OSError
    assert store.list("journal/attempts/detect-1/shard-0") == []


def test_a_driver_that_slept_too_long_leaves_the_folder_to_the_one_that_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    store = Store(str(tmp_path))
    theirs = {**ELSEWHERE, "beat": time.time()}
    message = "process 1 on elsewhere has taken it over"

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    # A run that a shell has started in the background ignores Ctrl-C.
    ctrl_c = signal.signal(signal.SIGINT, signal.SIG_IGN)
    kill = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(LeaseLost, match=message), lease.held(store):
            for _ in range(200):
                # The heart may have been about to beat.
                store.publish_json(layout_journal.LEASE, theirs)
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
        signal.signal(signal.SIGTERM, kill)
    assert store.read_json(layout_journal.LEASE) == theirs
