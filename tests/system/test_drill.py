"""Two of the drills of `scripts/drill`; the others take minutes more, and some need root.

A second driver must change nothing. A poisoned sample must change one row, and so shows that the
comparison of bytes sees one row.
"""

import json
import subprocess
import sys

import pytest

from pipeline.drills.faults import POISONED

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_run_that_is_disturbed_ends_with_the_same_bytes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.drills.run", "second", "poison", "--json"],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    drills = {drill["drill"]: drill for drill in json.loads(done.stdout)["drills"]}
    assert {name: (drill["equal"], drill["differs"]) for name, drill in drills.items()} == {
        "undisturbed": (True, []),
        "second": (True, []),
        "poison": (True, [POISONED]),
    }
    refused, finished = drills["second"]["said"]
    assert (refused["code"], finished["code"]) == (2, 0)
    assert "in use by process" in refused["text"]
    assert [said["code"] for said in drills["poison"]["said"]] == [0]
