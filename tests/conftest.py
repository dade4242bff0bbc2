"""Rules for every test: which tests may start a process, which may start Ray, and which run first.

A test without a marker runs in its own process, starts no other process and no Ray. This keeps
`scripts/test --fast` fast. The marker `subprocess` allows other processes; the marker `ray` allows
other processes and Ray.
"""

from __future__ import annotations

import multiprocessing.process
import os
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest

# huggingface_hub reads this once, at its import. Online, a test with a missing model would ask the
# network for it, and wait for half a minute.
os.environ["HF_HUB_OFFLINE"] = "1"

# By default Ray lowers the priority of its workers. They would wait for everything else on the
# machine, and the tests for them.
os.environ.update(RAY_worker_niceness="0")

# `ray.init` joins the cluster at this address. No such address can exist, so Ray fails at once, in
# the process of the test and in its children. `fld` starts Ray whatever the address is, and then
# Ray fails for want of a folder for its files.
RAY_REFUSED = "this-test-has-no-marker-ray"
NO_FOLDER = f"/dev/null/{RAY_REFUSED}"

PROCESS_EVENTS = frozenset(
    {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
)


class ProcessGuard:
    """Fails the running test when it starts a process while the guard is closed."""

    def __init__(self) -> None:
        self.closed = False
        sys.addaudithook(self._audit)
        # The children of `multiprocessing` are started without an audit event.
        start = multiprocessing.process.BaseProcess.start

        def guarded_start(process: multiprocessing.process.BaseProcess) -> None:
            self._refuse("multiprocessing")
            start(process)

        multiprocessing.process.BaseProcess.start = guarded_start  # type: ignore[method-assign]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in PROCESS_EVENTS:
            self._refuse(f"{event} {arguments[:2]}")

    def _refuse(self, what: str) -> None:
        if self.closed:
            pytest.fail(f"a test without the marker `subprocess` or `ray` starts a process: {what}")


GUARD = ProcessGuard()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Apply the markers to the test and to the set-up and tear-down of its fixtures."""
    allows_ray = item.get_closest_marker("ray") is not None
    allows_processes = allows_ray or item.get_closest_marker("subprocess") is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GUARD, "closed", not allows_processes)
        if not allows_ray:
            patch.setenv("RAY_ADDRESS", RAY_REFUSED)
            patch.setenv("RAY_TMPDIR", NO_FOLDER)
        return (yield)


# The files that take minutes. `test_rerun` makes the small run of `tests/system`. Meanwhile the
# other worker has files that do not wait for it.
LONGEST = ("test_rerun.py", "test_train.py", "test_operations.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first, so that no worker of pytest-xdist ends long before the others.

    First come the longest files, then those that start Ray; the short tests fill the gaps.
    """
    items.sort(key=rank)


def rank(item: pytest.Item) -> int:
    """The place of a test in the order; tests of one rank stay as they were collected."""
    if item.path.name in LONGEST:
        return LONGEST.index(item.path.name)
    starts_ray = item.get_closest_marker("ray") is not None
    return len(LONGEST) if starts_ray else len(LONGEST) + 1


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray with 2 CPUs for all tests of this process; it takes longer to start than most of
    them take."""
    import ray

    # Without `local` Ray would join a cluster that runs on this machine.
    settings = {"address": "local", "num_cpus": 2, "include_dashboard": False}
    ray.init(**settings, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()
