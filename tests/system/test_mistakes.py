"""A user's mistake gives one line that names the value and the change, exit code 2, and no file."""

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.stages.specialists.describing import Server
from tests.stages.specialists.tiny_finders import rt_detr
from tests.system.conftest import fld, fld_here

SHARDS, SHARD_SIZE = 10, 2
QUICK = [f"source.count={SHARDS * SHARD_SIZE}", f"source.shard_size={SHARD_SIZE}"]
QUICK.append("refine.rounds=0")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["filters.region.min_scoer=0.5"],
            "filters.region.min_scoer: no such setting; did you mean min_score?",
        ),
        (
            ["source=folder", "source.path={tmp}/nowhere"],
            "source.path={tmp}/nowhere: no such folder or file",
        ),
        (
            ["source=folder", "source.path={tmp}/empty"],
            "source.path={tmp}/empty: nothing to read in it",
        ),
        (["source=folder"], "source.path: not set; give it a value (source.path=...)"),
        (
            [
                "experiment=photos",
                "source.path={tmp}/photos",
                "specialists.detect.weights={tmp}/none.onnx",
            ],
            "specialists.detect.weights={tmp}/none.onnx: no such file or folder",
        ),
        (["refine.start={tmp}/no-model"], "refine.start={tmp}/no-model: no such file or folder"),
        (
            ["specialists.score.after=[]"],
            "specialists.score: it reads candidate_texts, and no stage in its `after` gives any; "
            "set specialists.score.after=[region_text]",
        ),
        (["work={tmp}/file/below"], "work={tmp}/file/below: {tmp}/file is a file; give a folder"),
    ],
)
def test_a_mistake_costs_one_line_and_writes_nothing(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    done = fld_here("run", f"work={tmp_path}/work", *(o.format(tmp=tmp_path) for o in overrides))
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert lines[0].startswith(f"fld: error: {message.format(tmp=tmp_path)}")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.subprocess
def test_a_mistake_costs_one_line_at_the_shell_too(tmp_path: Path) -> None:
    done = fld("run", "experiment=photos", f"source.path={tmp_path}", f"work={tmp_path}/work")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("fld: error: ")
    assert not list(tmp_path.iterdir())


def run_to_fault(work: Path, *overrides: str) -> CompletedProcess[str]:
    """`fld run` that a stage must end at its first shard, with one line and nothing published."""
    done = fld_here("run", f"work={work}", *QUICK, *overrides)
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1 and done.stderr.splitlines()[-1] == errors[0], done.stderr
    assert len(list(work.glob("images/*.tar"))) == SHARDS
    assert not list(work.glob("signals/*/*"))
    assert not list(work.glob("rounds/*"))
    return done


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_wrong_key_ends_the_run_at_the_first_shard(tmp_path: Path) -> None:
    closed = Server(failures=10_000, status=401)
    done = run_to_fault(
        tmp_path / "work",
        "specialists.ocr=null",
        "specialists.describe.use=endpoint_describe",
        "specialists.describe.after=[detect]",
        "specialists.describe.group=specialists",
        f"specialists.describe.endpoint={closed.url}",
        "specialists.describe.model=tiny",
        "specialists.describe.key_variable=FLD_TEST_KEY",
    )
    closed.stop()
    advice = "set FLD_TEST_KEY to a key that may use the model tiny"
    line = f"fld: error: stage describe: {closed.url} answers 401 Unauthorized: {advice}"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, line)
    # Each of the two actors asks about its first shard at most.
    assert 1 <= len(closed.requests) <= 2 * SHARD_SIZE


def test_a_model_without_weights_is_refused_before_anything_runs(tmp_path: Path) -> None:
    model, processor = rt_detr()
    folder = tmp_path / "model"
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    detector = ("specialists.detect.use=detr", f"specialists.detect.model={folder}")
    done = fld_here("run", f"work={tmp_path}/work", *QUICK, *detector)
    missing = "no model.safetensors, there are no other weights; only safetensors are read"
    line = f"fld: error: specialists.detect: {folder}: {missing}"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, line)
    assert not (tmp_path / "work").exists()
