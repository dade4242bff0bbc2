"""`scripts/on_gpu` without Ray and spaCy: what it imports, what it leaves out, and a rehearsal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def on_gpu(folder: Path, *arguments: str) -> dict[str, Any]:
    """What it writes where neither Ray nor spaCy can be imported."""
    for name in ("ray", "spacy"):
        (folder / f"{name}.py").write_text("raise ImportError('not installed here')")
    out = folder / "out" / "on_gpu.json"
    command = [sys.executable, str(ROOT / "scripts/on_gpu"), "--rehearse", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.subprocess
def test_it_needs_neither_ray_nor_spacy_and_leaves_out_what_has_no_time(tmp_path: Path) -> None:
    found = on_gpu(tmp_path, "--minutes", "0")
    assert found["machine"]["cpu"] and found["machine"]["torch"]
    assert {"inference nano 1", "training nano 1", "memory", "refinement"} <= set(found["parts"])
    assert all("left_out" in part for part in found["parts"].values())


@pytest.mark.slow
@pytest.mark.subprocess
def test_a_rehearsal_measures_every_part(tmp_path: Path) -> None:
    parts = on_gpu(tmp_path)["parts"]
    assert not [name for name, part in parts.items() if "error" in part or "left_out" in part]
    assert parts["inference nano 2"]["tokens_equal"] == 1.0
    assert parts["training nano 1"]["loss_difference"] < 1e-4
    assert parts["memory"]["batches_tried"] == [8, 4, 2, 2, 4, 2, 2]
    assert parts["memory"]["largest_difference"] < 1e-4
    before, after = parts["refinement"]["before"], parts["refinement"]["after"]
    assert before["f1"] > 0.4 and set(before) == set(after)
    assert parts["refinement"]["looked_again"] > 0
