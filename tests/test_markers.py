"""The fast tests cannot start a process or Ray, because tests/conftest.py refuses both."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest


def nothing() -> None:
    """What a child process runs here."""


def test_without_a_marker_no_process_starts() -> None:
    with pytest.raises(pytest.fail.Exception, match="without the marker"):
        subprocess.run([sys.executable, "--version"])
    with pytest.raises(pytest.fail.Exception, match="without the marker"):
        os.system("true")
    with pytest.raises(pytest.fail.Exception, match="without the marker"):
        multiprocessing.get_context("spawn").Process(target=nothing).start()


def test_without_a_marker_ray_does_not_start() -> None:
    import ray

    with pytest.raises(ValueError, match="this-test-has-no-marker-ray"):
        ray.init(include_dashboard=False)


@pytest.mark.subprocess
def test_with_the_marker_a_process_starts_but_no_ray_in_it() -> None:
    code = "import ray; ray.init(include_dashboard=False)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Invalid address format: this-test-has-no-marker-ray" in done.stderr
