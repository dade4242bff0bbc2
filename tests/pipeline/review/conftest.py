"""The scenes that the tests of reviews label."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.release.rounds import write_scenes
from tests.pipeline.review.labelled import COUNT


@pytest.fixture
def top(tmp_path: Path) -> Path:
    write_scenes(tmp_path / "images", COUNT)
    return tmp_path
