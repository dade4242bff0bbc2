"""Files that the machines of a job have, and the submitting one has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.config.compose import compose
from pipeline.config.contents import unchecked
from pipeline.config.models import check_models
from pipeline.config.parse import parse, with_absolute_paths
from pipeline.submit.job import job_of, local_paths, replaced

PHOTOS = ["experiment=photos", "source.path=/there/photos", "work=/there/labels"]
THERE = {
    "specialists.detect.weights": "/there/yolox.onnx",
    "specialists.detect.classes": "/there/classes.txt",
    "refine.start": "/there/start",
    "refine.sparse.start": "/there/sparse",
}
WORDS = [
    *PHOTOS,
    *(f"{name}={value}" for name, value in THERE.items()),
    "refine.sparse.texts=[detailed]",
    "source.refuse=/there/refuse.txt",
    "filters.region.min_scores={detect/zebra: 0.5}",
]


@pytest.mark.parametrize("cluster", [["cluster=slurm"], ["cluster=kuberay"]])
def test_a_job_may_name_files_that_only_its_machines_have(
    cluster: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if cluster == ["cluster=kuberay"]:
        cluster += ["cluster.kuberay.image=i", "cluster.kuberay.claims={/there: claim}"]
    assert main(["submit", *cluster, *WORDS, "--dry-run"]) == 0
    told = capsys.readouterr()
    for name, value in {**THERE, "source.refuse": "/there/refuse.txt"}.items():
        advice = "so it is not checked here; the machines of the job need it under this name"
        assert f"{name}={value}: not on this machine, {advice}" in told.err
        assert value in told.out


def test_a_run_on_this_machine_may_not() -> None:
    with pytest.raises(ValueError, match=r"^refine\.start=/there/start: no such file or folder"):
        parse(compose(WORDS))


@pytest.mark.parametrize(
    "word", ["specialists.detect.weights=m/yolox.onnx", "refine.start=./start", "refine.start=big"]
)
def test_a_relative_path_starts_from_this_machine(word: str) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        parse(compose([*WORDS, word]), is_sent=True)


def test_a_file_that_is_here_is_checked_here(tmp_path: Path) -> None:
    wrong = tmp_path / "yolox.onnx"
    wrong.write_text("no model")
    words = [*PHOTOS, f"specialists.detect.weights={wrong}"]
    run = parse(compose(words), is_sent=True)
    assert list(unchecked(run)) == []
    with pytest.raises(ValueError, match=r"^specialists\.detect"):
        check_models(run, is_sent=True)


def test_lists_and_the_start_of_sparse_texts_are_paths_of_this_machine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("x\n")
    (tmp_path / "start").mkdir()
    values = compose(["work=s3://b/w", "source.refuse=[a.txt]", "refine.sparse.start=start"])
    run = parse(values)
    sent = job_of(with_absolute_paths(values, run), run).values
    paths = {"refine.sparse.start": f"{tmp_path}/start", "source.refuse.0": f"{tmp_path}/a.txt"}
    assert local_paths(sent) == paths
    assert replaced(sent, {"source.refuse.0": "x.txt"})["source"]["refuse"] == ["x.txt"]
