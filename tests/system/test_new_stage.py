"""The README's way to add a stage, done as it says: four edits in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
# The run shows the new stage beside the detector; what the others do takes most of its time.
OTHERS = ("ocr", "region_text", "score", "segment", "caption", "describe", "parse", "ground")
WITHOUT_OTHERS = [f"~specialists.{name}" for name in OTHERS]
WITHOUT_OTHERS += ["filters.text=null", "filters.triplet=null"]
BLOCK = re.compile(r"(?P<before>[^\n]*):\n\n```\w+\n(?P<code>.*?)```", re.DOTALL)


def edits() -> list[tuple[str, str]]:
    """(file, code) of the section's four blocks."""
    section = (ROOT / "README.md").read_text().split("## Add a stage")[1].split("\n## ")[0]
    return [
        (re.findall(r"`([^`]+\.\w+)`", match["before"])[-1], match["code"])
        for match in BLOCK.finditer(section)
    ]


def test_four_edits_add_a_stage_that_tests_and_runs(tmp_path: Path) -> None:
    for name in ("pipeline", "stages", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (stage, code), (registry, line), (config, entry), (test, test_code) = edits()
    (tmp_path / stage).write_text(code)
    text = (tmp_path / registry).read_text()
    (tmp_path / registry).write_text(text.replace("STAGES = {\n", "STAGES = {\n" + line))
    (tmp_path / config).write_text((tmp_path / config).read_text() + entry)
    (tmp_path / test).parent.mkdir(parents=True)
    (tmp_path / test).write_text(test_code)

    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", test],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0 and "1 passed" in tested.stdout, tested.stdout

    work = tmp_path / "work"
    run = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "run",
        f"work={work}",
        "source.count=4",
        "refine.rounds=0",
        "cluster.workers=1",
        *WITHOUT_OTHERS,
    ]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (manifest,) = work.glob("signals/qr-*/manifests/*")
    assert json.loads(manifest.read_text())["samples"] == {
        "in": 4,
        "kept": 4,
        "dropped": {},
        "failed": {},
    }
