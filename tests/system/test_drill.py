"""Two of the drills of `scripts/drill`; the others take minutes more, and some need root."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_run_that_is_disturbed_ends_with_the_same_bytes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.drills.run", "driver", "second", "--json"],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    drills = {drill["drill"]: drill for drill in json.loads(done.stdout)["drills"]}
    assert {name: drill["equal"] for name, drill in drills.items()} == {
        "undisturbed": True,
        "driver": True,
        "second": True,
    }
    assert [said["code"] for said in drills["driver"]["said"]] == [-9, 0]
    refused, finished = drills["second"]["said"]
    assert (refused["code"], finished["code"]) == (2, 0)
    assert "in use by process" in refused["text"]
