"""A work folder in a bucket, on a server of this machine that knows conditional writes."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.storage import layout_journal, lease
from pipeline.storage.store import Store

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("localbucket")
pytestmark = pytest.mark.subprocess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server, and the folder of its bucket `bucket`."""
    top = tmp_path_factory.mktemp("s3")
    (top / "bucket").mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "localbucket", "--port", str(port), str(top)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", top / "bucket"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Path]:
    address, folder = server
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FLD_CACHE": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.1)
    yield folder
    # Its clients know the address of this server.
    s3fs.S3FileSystem.clear_instance_cache()


def test_files_in_a_bucket_are_read_and_listed_as_on_a_disk(bucket: Path) -> None:
    store = Store("s3://bucket/files")
    content = bytes(range(256)) * 1000
    with pytest.raises(RuntimeError), store.publishing("a/half") as sink:
        sink.write(content)
        raise RuntimeError
    assert not store.exists("a/half") and store.list("a") == []
    store.publish("a/whole", content)
    assert (store.list("a"), store.size("a/whole")) == (["whole"], len(content))
    for opened in (store.open("a/whole"), store.open_whole("a/whole")):
        with opened as file:
            file.seek(300)
            assert file.read(20) == content[300:320]
            file.seek(0)
            assert file.read() == content
    assert store.usage("a") == (1, len(content))
    store.remove("a/whole")
    assert not store.exists("a/whole")


def test_a_file_that_was_replaced_is_not_taken_from_the_cache(bucket: Path) -> None:
    store = Store("s3://bucket/cached")
    for content in (b"one", b"two"):
        store.publish("tar", content)
        with store.open_whole("tar") as file:
            assert file.read() == content


def test_a_listing_of_many_pages_is_whole(bucket: Path) -> None:
    (bucket / "pages/many").mkdir(parents=True)
    names = [f"{number:05d}" for number in range(2500)]
    for name in names:
        (bucket / "pages/many" / name).write_bytes(b"")
    # The server, as S3 does, lists a thousand names at a time.
    assert Store("s3://bucket/pages").list("many") == names


def test_a_bucket_that_does_not_exist_is_refused_by_its_name(bucket: Path) -> None:
    with pytest.raises(ValueError, match=r"work=s3://nowhere/w: there is no bucket nowhere"):
        Store("s3://nowhere/w").check_usable()


def test_only_one_of_several_drivers_takes_a_lease_over(bucket: Path) -> None:
    store = Store("s3://bucket/lease")
    dead = {"host": "elsewhere", "boot": "b", "pid": 1, "started": "1", "beat": 0.0}
    store.publish_json(layout_journal.LEASE, dead)
    start = threading.Barrier(4)
    won, told = [], []

    def drive() -> None:
        start.wait()
        try:
            with lease.held(Store("s3://bucket/lease")):
                won.append(1)
                time.sleep(1.5)
        except ValueError as error:
            told.append(str(error))

    threads = [threading.Thread(target=drive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(told)) == (1, 3)
    assert all("in use by process" in text or "has just begun" in text for text in told)
    state = lease.holder(store)
    assert state is not None and state["state"] == "finished"


def test_a_claim_of_a_driver_that_was_killed_is_passed_over(bucket: Path) -> None:
    store = Store("s3://bucket/claims")
    dead = {"host": "elsewhere", "boot": "b", "pid": 1, "started": "1", "beat": 0.0}
    from pipeline.storage.manifest import digest, json_bytes

    assert store.create(layout_journal.claim(digest("")), json_bytes(dead))
    with lease.held(store):
        assert store.list(layout_journal.CLAIMS) == []
