"""What is sent to Ray Jobs, and what is said when nothing answers there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.submission import RayJobsConfig
from pipeline.errors import ClusterFailed
from pipeline.submit import ray_jobs
from pipeline.submit.job import job_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with code, a list that git ignores, images, and a secret."""
    root = tmp_path / "project"
    for name in ("stage.py", "lists/classes.txt", "photos/a.jpg", ".env"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / ".gitignore").write_text("lists/\nphotos/\n")
    return root


def parcel(folder: Path, **settings: object) -> ray_jobs.Parcel:
    words = ["cluster=ray", f"work={folder}/labels", "source=coco", f"source.path={folder}/photos"]
    values = compose([*words, f"source.instances={folder}/lists/classes.txt"])
    config = RayJobsConfig(folder=str(folder), **settings)
    return ray_jobs.prepare(job_of(values, parse(values)), config)


def test_files_of_the_folder_travel_and_other_paths_must_be_seen_there(folder: Path) -> None:
    sent = parcel(folder, python="python3.11")
    names = [file.name for file in sent.folder.files]
    assert names == [".gitignore", "lists/classes.txt", "stage.py"]
    assert "instances: lists/classes.txt" in sent.settings
    assert f"path: {folder}/photos" in sent.settings
    assert sent.command == "python3.11 -m pipeline.cli run --config fld-job.yaml"
    paths, secrets = sent.warnings
    assert paths.startswith(f"work={folder}/labels, source.path={folder}/photos: on this machine; ")
    assert secrets == "not sent, as their names are those of secrets: .env"


def test_a_dry_run_prints_all_that_would_be_sent(folder: Path) -> None:
    sent = parcel(folder)
    text = ray_jobs.dry_run_text(sent, RayJobsConfig(jobs="http://head:8265"))
    assert text.splitlines()[:4] == [
        f"job: {sent.job.name(1)} (the next free number)",
        "to: http://head:8265",
        "command: python -m pipeline.cli run --config fld-job.yaml",
        f"folder: {folder}: 3 files, {sent.folder.size:,} bytes",
    ]
    assert text.endswith(f"fld-job.yaml:\n{sent.settings}")
    assert all(f"  {file.name}" in text for file in sent.folder.files)


def test_too_much_is_refused_before_anything_is_sent(folder: Path) -> None:
    (folder / "film.mp4").write_bytes(bytes(1_200_000))
    with pytest.raises(ValueError, match=r"1.2 MB to send, more than cluster.ray.max_mb=1; the l"):
        parcel(folder, max_mb=1)


def test_an_address_where_nothing_answers_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(ClusterFailed) as told, ray_jobs.client(RayJobsConfig(jobs=url)):
        pass
    assert str(told.value) == (
        f"cluster.ray.jobs={url}: nothing answers there (Connection refused); give the address of "
        "the dashboard of `ray start --head`; one on loopback needs "
        "`ssh -L 8265:127.0.0.1:8265 HEAD`"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8265", "ray://head:10001", "http://[", ""])
def test_an_address_that_is_no_url_is_told(url: str) -> None:
    message = "no address; give the address of the dashboard of `ray start --head`, such as http:"
    with pytest.raises(ValueError, match=message), ray_jobs.client(RayJobsConfig(jobs=url)):
        pass
