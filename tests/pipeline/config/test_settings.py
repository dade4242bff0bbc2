import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.config.compose import compose, dotlist
from pipeline.config.parse import parse, with_absolute_paths
from stages.dedup import DedupConfig


def test_words_become_plain_values() -> None:
    assert dotlist(["distance=3", "a.b=[1,2]", "model=x=y"], DedupConfig) == {
        "distance": 3,
        "a": {"b": [1, 2]},
        "model": "x=y",
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [("distance=[1", "distance=\\[1: .*quote"), ("distance", "distance: not a setting; write key")],
)
def test_a_word_that_is_no_setting_is_refused(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        dotlist([word], DedupConfig)


@pytest.mark.parametrize(
    "words",
    [
        ["dedup", "{work}", "distance=[1"],
        ["bench", "shards", "count=[1"],
        ["status", "nosuch://bucket/work"],
    ],
)
def test_a_mistake_on_the_command_line_is_told_in_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([word.format(work=tmp_path) for word in words]) == 2
    assert capsys.readouterr().err.startswith("fld: error: ")


def test_fewer_than_no_rounds_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"refine.rounds=-1: it must be greater than or equal to 0"
    ):
        parse(compose(["work=w", "refine.rounds=-1"]))


def test_local_files_are_saved_by_their_absolute_path_and_names_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "nano"):
        os.mkdir(name)
    Path("yolox.onnx").touch()
    words = [
        "experiment=photos",
        "work=w",
        "source.path=photos",
        "specialists.detect.weights=yolox.onnx",
    ]
    values = compose(words)
    found = with_absolute_paths(values, parse(values))
    assert found["source"]["path"] == str(tmp_path / "photos")
    assert found["specialists"]["detect"]["weights"] == str(tmp_path / "yolox.onnx")
    assert found["refine"]["start"] == values["refine"]["start"] == "nano"
    values["source"]["path"] = "s3://bucket/photos"
    assert with_absolute_paths(values, parse(values))["source"]["path"] == "s3://bucket/photos"


def test_a_run_on_another_source_is_refused_and_leaves_the_saved_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.ingest.assignment import assign, list_source
    from pipeline.storage.store import Store

    for name in ("photos", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"")
    work = tmp_path / "work"
    mine = compose([f"work={work}", "source=folder", f"source.path={tmp_path}/photos"])
    run = parse(mine)
    assign(Store(run.work), run.source, list_source(run.source))
    assert cli.main(["run", f"work={work}", "source=folder", f"source.path={tmp_path}/others"]) == 2
    assert "give another work" in capsys.readouterr().err
    assert not (work / "config.yaml").exists()


# In a process of its own: `connect` does nothing where another test has started Ray.
JOIN = """
from pipeline.config.run import ClusterConfig
from pipeline.execution.cluster import connect
connect(ClusterConfig(address="bad:address:x"))
"""


@pytest.mark.subprocess
def test_a_cluster_that_cannot_be_joined_is_told_by_its_setting() -> None:
    done = subprocess.run([sys.executable, "-c", JOIN], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert "ClusterFailed: cluster.address=bad:address:x: Ray does not start: " in last
