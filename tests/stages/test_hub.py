"""Names of hub models, and where the cache has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stages.florence.limits import limits_of
from stages.florence.model import CHECKPOINT, load
from stages.hub import CACHE_VARIABLE, HubModel, cache_folder, hub_model, local_folder

COMMIT = "0123456789" * 4
NANO = HubModel("someone/florence.nano", COMMIT)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def put_nano(model: HubModel) -> None:
    """The packaged checkpoint, as huggingface_hub keeps a model: blobs, and links to them."""
    blobs = model.repo_folder / "blobs"
    blobs.mkdir(parents=True)
    model.folder.mkdir(parents=True)
    for number, file in enumerate(sorted(CHECKPOINT.iterdir())):
        shutil.copy(file, blobs / str(number))
        (model.folder / file.name).symlink_to(Path("../../blobs") / str(number))


@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        ("owner/name", "", HubModel("owner/name")),
        ("owner/name-1.5_b", "abc", HubModel("owner/name-1.5_b", "abc")),
        (f"owner/name@{COMMIT}", "", HubModel("owner/name", COMMIT)),
        ("owner/name@main", "", None),
        ("nano", "", None),
        ("/somewhere/owner/name", "", None),
    ],
)
def test_a_name_of_the_hub_may_carry_a_commit(
    name: str, revision: str, expected: HubModel | None
) -> None:
    assert hub_model(name, revision) == expected


def test_a_folder_of_that_name_is_no_name_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner/name").mkdir(parents=True)
    assert hub_model("owner/name") is None


def test_a_whole_model_of_the_cache_is_loaded_from_its_folder_without_the_network() -> None:
    named = f"{NANO.repo}@{COMMIT}"
    assert local_folder(NANO.repo, COMMIT) == NANO.repo and limits_of(named) is None
    put_nano(NANO)
    assert local_folder(NANO.repo, COMMIT) == local_folder(named) == str(NANO.folder)
    limits = limits_of(named)
    assert limits is not None and limits.positions == 512
    # The tests run with HF_HUB_OFFLINE=1.
    assert load(named).model.config.model_type == "florence2"


def test_a_model_that_is_only_half_there_is_not_taken() -> None:
    put_nano(NANO)
    weights = NANO.folder / "model.safetensors"
    data = weights.read_bytes()
    weights.resolve().write_bytes(data[:-1])
    assert not NANO.is_here
    weights.resolve().write_bytes(data)
    assert NANO.is_here
    weights.unlink()
    assert not NANO.is_here and local_folder(NANO.repo, COMMIT) == NANO.repo


def test_another_commit_is_another_model(cache: Path) -> None:
    put_nano(NANO)
    assert not HubModel(NANO.repo, "f" * 40).is_here
    assert not HubModel(NANO.repo).is_here
    assert cache_folder() == cache
