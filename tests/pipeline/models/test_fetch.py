"""`fld models fetch` against a stand-in of the hub with real sockets (`hub_server.py`)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from pipeline.models import fetch as fetching
from pipeline.models.fetch import FetchFailed, fetch_model, newest_commit
from pipeline.models.state import PARTIAL, changed_files
from stages.hub import CACHE_VARIABLE, HubModel, local_folder
from tests.pipeline.release.hub_server import PIECE, HubServer, serving

COMMIT = "1234567890" * 4
MODEL = HubModel("maker/detector", COMMIT)


def safetensors(size: int) -> bytes:
    """A file with one tensor of random bytes."""
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + os.urandom(size)


def files_of_a_model(size: int = 300_000) -> dict[str, bytes]:
    return {
        "config.json": b'{"architectures": ["RTDetrV2ForObjectDetection"]}',
        "preprocessor_config.json": b"{}",
        "README.md": b"---\nlicense: apache-2.0\n---\n",
        "model.safetensors": safetensors(size),
        "pytorch_model.bin": os.urandom(1000),
        "onnx/model.onnx": os.urandom(1000),
        "run.py": b"raise SystemExit",
    }


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", PIECE)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving(tmp_path / "hub") as server:
        yield server


def api(hub: HubServer) -> HfApi:
    return HfApi(hub.url, token=False)


def test_safetensors_and_small_files_come_at_the_commit_and_nothing_else(hub: HubServer) -> None:
    files = files_of_a_model()
    hub.add_model("maker/detector", COMMIT, files)
    hub.add_model("maker/detector", "f" * 40, {**files, "config.json": b"{}"})
    fetched = fetch_model(MODEL, api(hub))
    there = {file.name: file.read_bytes() for file in MODEL.folder.iterdir()}
    wanted = ("config.json", "preprocessor_config.json", "README.md", "model.safetensors")
    assert there == {name: files[name] for name in wanted}
    assert fetched == sum(map(len, there.values()))
    assert local_folder("maker/detector", COMMIT) == str(MODEL.folder)
    assert changed_files(MODEL) == []
    hub.sent.clear()
    assert fetch_model(MODEL, api(hub)) == 0 and not hub.sent


def test_a_file_in_parts_is_fetched_in_parts(hub: HubServer) -> None:
    files = files_of_a_model()
    weights = files.pop("model.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    files["model-00001-of-00002.safetensors"] = weights
    files["model-00002-of-00002.safetensors"] = safetensors(10)
    hub.add_model("maker/detector", COMMIT, files)
    fetch_model(MODEL, api(hub))
    assert MODEL.is_here
    assert (MODEL.folder / "model-00002-of-00002.safetensors").is_file()


def test_a_broken_download_goes_on_from_the_byte_that_is_missing(hub: HubServer) -> None:
    files = files_of_a_model()
    hub.add_model("maker/detector", COMMIT, files)
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    blobs = MODEL.repo_folder / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{digest}{PARTIAL}").write_bytes(files["model.safetensors"][:100_000])
    fetch_model(MODEL, api(hub))
    size = len(files["model.safetensors"])
    assert hub.ranges == ["model.safetensors bytes=100000-"]
    assert hub.sent["model.safetensors"] == size - 100_000
    assert (MODEL.folder / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert not list(blobs.glob(f"*{PARTIAL}*"))


def test_bytes_that_are_not_the_published_ones_are_not_kept(hub: HubServer) -> None:
    files = files_of_a_model()
    hub.add_model("maker/detector", COMMIT, files)
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    blobs = MODEL.repo_folder / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{digest}{PARTIAL}").write_bytes(bytes(1000))
    with pytest.raises(FetchFailed, match=r"^model\.safetensors: what came is not the file that"):
        fetch_model(MODEL, api(hub))
    assert not MODEL.is_here and not list(blobs.glob(f"*{PARTIAL}"))
    fetch_model(MODEL, api(hub))
    assert MODEL.is_here


def test_a_changed_file_of_the_cache_is_found_and_a_cut_one_is_fetched_again(
    hub: HubServer,
) -> None:
    files = files_of_a_model()
    hub.add_model("maker/detector", COMMIT, files)
    fetch_model(MODEL, api(hub))
    blob = (MODEL.folder / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    (MODEL.folder / "config.json").resolve().write_bytes(b"{}")
    assert MODEL.is_here
    assert changed_files(MODEL) == ["config.json", "model.safetensors"]
    blob.write_bytes(data[:1000])
    assert not MODEL.is_here
    fetch_model(MODEL, api(hub))
    assert MODEL.is_here and changed_files(MODEL) == []
    assert (MODEL.folder / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_weights_that_can_hold_code_and_unknown_models_are_refused_in_one_line(
    hub: HubServer,
) -> None:
    files = files_of_a_model()
    del files["model.safetensors"]
    hub.add_model("maker/detector", COMMIT, files)
    with pytest.raises(ValueError, match=r"it has no model\.safetensors at 12345678; only safe"):
        fetch_model(MODEL, api(hub))
    with pytest.raises(ValueError, match=r"^maker/none@12345678: the hub has no such model or"):
        fetch_model(HubModel("maker/none", COMMIT), api(hub))
    with pytest.raises(ValueError, match=r"^maker/detector@00000000: the hub has no such model or"):
        fetch_model(HubModel("maker/detector", "0" * 40), api(hub))
    assert newest_commit("maker/detector", api(hub)) == COMMIT


def test_a_full_disk_is_told_before_anything_comes(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_model("maker/detector", COMMIT, files_of_a_model())
    monkeypatch.setattr(fetching, "SPARE_BYTES", 10**18)
    with pytest.raises(FetchFailed, match=r"^maker/detector: 300 kB are missing, and the disk of"):
        fetch_model(MODEL, api(hub))
    assert not hub.sent


@pytest.mark.subprocess
def test_a_fetch_that_is_killed_goes_on_and_takes_each_byte_about_once(
    hub: HubServer, tmp_path: Path
) -> None:
    files = files_of_a_model(3_000_000)
    hub.add_model("maker/detector", COMMIT, files)
    hub.piece_pause = 0.02
    code = (
        "import sys; from huggingface_hub import HfApi, constants\n"
        f"constants.DOWNLOAD_CHUNK_SIZE = {PIECE}\n"
        "from pipeline.models.fetch import fetch_model; from stages.hub import HubModel\n"
        f"fetch_model(HubModel('maker/detector', {COMMIT!r}), HfApi({hub.url!r}, token=False))"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    first = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    while hub.sent["model.safetensors"] < 1_000_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert not MODEL.is_here
    hub.piece_pause = 0.0
    before = hub.sent["model.safetensors"]
    subprocess.run(command, env=environment, check=True, timeout=60)
    assert (MODEL.folder / "model.safetensors").read_bytes() == files["model.safetensors"]
    (asked,) = hub.ranges
    begin = int(asked.removeprefix("model.safetensors bytes=").removesuffix("-"))
    size = len(files["model.safetensors"])
    assert 0 < begin < size
    # Only what was on its way when the process was killed comes twice.
    assert hub.sent["model.safetensors"] < size + (before - begin) + 10 * PIECE < 2 * size
