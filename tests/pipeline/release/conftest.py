"""One small labelled work folder that the tests of releases share, for reading only."""

from pathlib import Path

import pytest

from tests.pipeline.release.rounds import make_round, write_scenes

COUNT = 18


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 scenes in 3 shards, labelled."""
    top = tmp_path_factory.mktemp("labelled")
    write_scenes(top / "images", COUNT)
    make_round(top / "work", top / "images")
    return top / "work"
