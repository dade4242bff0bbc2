"""A release of a real round, made by the command line on Ray, is whole and is made once."""

import json
import shutil
from pathlib import Path

import pytest

from tests.system.conftest import fld_here

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def test_a_round_is_released_and_checked_by_the_command_line(
    small_run: Path, tmp_path: Path
) -> None:
    work = shutil.copytree(small_run, tmp_path / "work")
    command = ["release", "build", str(work), "name=demo", "version=1.0", "splits.test=0.25"]
    refused = fld_here(*command)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "fld: error: sources: no licence; set sources.scenes.licence to the licence of the images, "
        "such as CC-BY-4.0"
    )
    command.append("sources.scenes.licence=CC0-1.0")
    done = fld_here(*command, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    value = json.loads(done.stdout)
    samples = {split: counts["samples"] for split, counts in value["splits"].items()}
    assert value["new"] and samples == {"test": 3, "train": 9}
    checked = fld_here("release", "verify", value["folder"])
    assert checked.returncode == 0, checked.stdout
    again = fld_here(*command)
    assert again.stdout.splitlines()[-1] == f"{value['folder']}: was there already"
