"""The models that recipes name, and what of them is here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import cli
from pipeline.config.compose import compose
from pipeline.config.models import check_models
from pipeline.config.parse import parse
from pipeline.execution.cluster import worker_environment
from pipeline.models.catalogue import catalogue
from pipeline.models.inventory import Listed, inventory, problems
from pipeline.models.state import PARTIAL, Presence, file_path
from pipeline.models.wanted import Kind
from stages.florence.model import CHECKPOINT
from stages.hub import CACHE_VARIABLE, HubModel, cache_folder, is_commit
from tests.stages.specialists.test_yolox import ROWS, constant_onnx

HUB_RECIPES = ["one_gpu", "paper"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def listed(*words: str) -> dict[str, Listed]:
    """What is listed, by the first setting that names it."""
    return {one.wanted.settings[0]: one for one in inventory(compose(list(words)))}


@pytest.mark.parametrize("recipe", HUB_RECIPES)
def test_every_hub_model_of_a_recipe_has_a_commit_a_licence_and_a_size(recipe: str) -> None:
    hub = [one for one in listed(f"experiment={recipe}").values() if one.wanted.kind is Kind.HUB]
    assert len(hub) == 7
    for one in hub:
        assert is_commit(one.wanted.revision), one.wanted.name
        assert one.published is not None and one.published.licence and one.size
        assert one.state.presence is Presence.MISSING


@pytest.mark.parametrize("recipe", HUB_RECIPES)
def test_a_recipe_is_whole_without_any_weights(recipe: str) -> None:
    run = parse(compose([f"experiment={recipe}", "source.path=x", "work=w"]))
    check_models(run)
    groups = {entry.group for entry in run.specialists.values()} | {"refine", "train"}
    on_gpu = {name for name, group in run.cluster.groups.items() if group.gpus}
    assert on_gpu <= groups and groups - on_gpu == {"ocr", "language"}
    assert run.train.dtype == "bfloat16" and run.refine.start.startswith("florence-community/")
    if recipe == "one_gpu":
        shares = [run.cluster.group(name).gpus for name in on_gpu - {"refine", "train"}]
        assert sum(shares) == pytest.approx(1)


def test_a_model_of_two_stages_is_listed_once_with_both_roles() -> None:
    one = listed("experiment=paper")["specialists.caption.model"]
    assert one.wanted.settings == ("specialists.caption.model", "specialists.region_text.model")
    assert one.wanted.role == "captions, texts of regions"


def test_what_a_recipe_leaves_open_has_a_proposal_and_then_the_words_to_give(
    tmp_path: Path,
) -> None:
    words = ["experiment=photos", "source.path=x"]
    one = listed(*words)["specialists.detect.weights"]
    assert (one.wanted.kind, one.wanted.name) == (Kind.UNSET, "yolox_s.onnx")
    assert one.state.presence is Presence.UNSET and one.is_to_fetch
    file = file_path("yolox_s.onnx")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    one = listed(*words)["specialists.detect.weights"]
    assert one.state.detail == f"give specialists.detect.weights={file}" and not one.is_to_fetch


def test_local_files_are_checked_by_the_stage_that_loads_them(tmp_path: Path) -> None:
    weights = constant_onnx(tmp_path / "yolox.onnx", np.zeros((1, ROWS, 85)))
    words = ["experiment=photos", f"specialists.detect.weights={weights}"]
    assert listed(*words)["specialists.detect.weights"].state.presence is Presence.HERE
    Path(weights).write_bytes(Path(weights).read_bytes()[:1000])
    one = listed(*words)["specialists.detect.weights"]
    assert one.state.presence is Presence.HALF
    (line,) = problems(one)
    assert line.startswith(f"specialists.detect.weights: {weights}: half there: weights={weights}:")


def test_a_folder_that_is_half_there_says_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "florence"
    shutil.copytree(CHECKPOINT, folder)
    words = ["experiment=photos", "specialists=florence", f"specialists.annotate.model={folder}"]
    assert listed(*words)["specialists.annotate.model"].state.presence is Presence.HERE
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    (line,) = problems(listed(*words)["specialists.annotate.model"])
    assert "half there: " in line and line.endswith("fetch it again")
    weights.unlink()
    (line,) = problems(listed(*words)["specialists.annotate.model"])
    assert "no model.safetensors" in line
    weights.write_bytes(whole)
    (folder / "tokenizer.json").unlink()
    (line,) = problems(listed(*words)["specialists.annotate.model"])
    assert "no tokenizer" in line


def test_a_broken_download_is_half_there() -> None:
    words = ["experiment=one_gpu"]
    model = HubModel(
        "facebook/sam-vit-huge", listed(*words)["specialists.segment.model"].hub.revision
    )
    blobs = model.repo_folder / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"abc{PARTIAL}").write_bytes(bytes(2_000_000))
    one = listed(*words)["specialists.segment.model"]
    assert one.state.presence is Presence.HALF and one.state.detail == "2 MB of it; `fetch` goes on"
    model.folder.mkdir(parents=True)
    (model.folder / "config.json").write_text('{"model_type": "sam"}')
    one = listed(*words)["specialists.segment.model"]
    assert one.state.presence is Presence.HALF and "no model.safetensors" in one.state.detail
    assert one.is_to_fetch


def test_a_hub_name_without_a_commit_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["experiment=one_gpu", "refine.start=florence-community/Florence-2-base"]
    one = listed(*words)["refine.start"]
    assert one.state.presence is Presence.UNPINNED and one.is_to_fetch


def test_the_commands_answer_in_words_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list", "experiment=one_gpu", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    states = {model["name"]: model["state"] for model in models}
    assert states["facebook/sam-vit-huge"] == "missing"
    assert cli.main(["models", "check", "experiment=one_gpu"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0] == ("specialists.detect.model: PekingU/rtdetr_v2_r50vd (about 172 MB): missing")
    assert lines[-1] == (
        f"`fld models fetch experiment=one_gpu` gets 7 models (about 22.2 GB) into {cache_folder()}"
    )
    assert cli.main(["models", "check"]) == 0
    assert capsys.readouterr().out == "all 3 models are here\n"


def test_a_plan_names_the_missing_weights_and_their_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    words = ["experiment=one_gpu", f"source.path={tmp_path}/photos", f"work={tmp_path}/work"]
    assert cli.main(["plan", "--gpus", "1", "--cpus", "16", *words]) == 0
    said = capsys.readouterr()
    assert "0.segment" in said.out
    missing = [line for line in said.err.splitlines() if line.endswith("): missing")]
    assert len(missing) == 7
    assert "refine.start: florence-community/Florence-2-base (469 MB): missing" in missing[-1]
    assert "`fld models fetch experiment=one_gpu` gets 7 models" in said.err


def test_all_workers_use_the_folder_that_cluster_models_names(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    assert cli.main(["models", "list", f"cluster.models={folder}"]) == 0
    assert cache_folder() == folder
    run = parse(compose([f"cluster.models={folder}"]))
    assert worker_environment(run.cluster) == {
        "runtime_env": {"env_vars": {CACHE_VARIABLE: str(folder)}}
    }
    assert worker_environment(parse(compose([])).cluster) == {}


def test_a_file_of_the_catalogue_has_a_digest_and_its_stage_is_known() -> None:
    for name, known in catalogue().files.items():
        assert len(known.sha256) == 64 and known.bytes // 10**6 in (
            known.megabytes,
            known.megabytes - 1,
        )
        assert known.url.endswith(f"/{name}") and known.stage == "yolox"
