"""A remote store that does not answer for a while, and a cache with a limit."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import StoreSilent
from pipeline.storage import patience
from pipeline.storage.cache import IN_USE_SECONDS, Cache
from pipeline.storage.patience import patiently
from pipeline.storage.remote_file import opened
from pipeline.storage.store import Store


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.05)


class EndpointConnectionError(Exception):
    """As in botocore: no OSError."""


class NoCredentialsError(Exception):
    """As in botocore."""


EndpointConnectionError.__module__ = NoCredentialsError.__module__ = "botocore.exceptions"


def silent(times: int, error: Exception) -> Callable[[], str]:
    """Answers after it has raised so many times."""
    left = [error] * times

    def ask() -> str:
        if left:
            raise left.pop()
        return "answer"

    return ask


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "refused"),
        TimeoutError(),
        OSError(5, "InternalError"),
        EndpointConnectionError("Could not connect to the endpoint URL"),
    ],
)
def test_a_store_that_does_not_answer_is_asked_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert patiently("s3://b/w", silent(3, error)) == "answer"
    (line,) = caplog.messages
    assert line.startswith("s3://b/w does not answer: ")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "no"),
        FileNotFoundError("as s3fs raises it"),
        PermissionError(13, "AccessDenied"),
        OSError(22, "InvalidArgument"),
        OSError(28, "No space left on device"),
        OSError(38, "NotImplemented"),
        ValueError("wrong"),
        NoCredentialsError("Unable to locate credentials"),
    ],
)
def test_what_would_fail_again_is_told_at_once(error: Exception) -> None:
    with pytest.raises(type(error)):
        patiently("s3://b/w", silent(1, error))


def test_patience_ends_in_words() -> None:
    with pytest.raises(StoreSilent, match=r"s3://b/w does not answer, tried for .*: refused; the"):
        patiently("s3://b/w", silent(9999, ConnectionRefusedError("refused")))


def test_a_remote_file_reads_as_a_local_one_does() -> None:
    content = bytes(range(256)) * 40
    asked = []

    def read_range(start: int, end: int) -> bytes:
        asked.append((start, end))
        return content[start:end]

    with opened(read_range, len(content)) as file:
        assert file.seek(300) == 300 and file.read(20) == content[300:320]
        assert file.seek(-10, os.SEEK_END) == len(content) - 10
        assert file.read() == content[-10:] and file.read() == b""
        file.seek(0)
        assert file.read() == content
    # What lies near is in the buffer.
    assert len(asked) <= 3


def fetched(content: bytes) -> Callable[[str], object]:
    return lambda path: Path(path).write_bytes(content)


def test_the_cache_keeps_what_was_asked_for_last(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit=250)
    for age, name in ((3, "old"), (1, "new"), (2, "middle")):
        path = cache.get(name, fetched(bytes(100)))
        past = path.stat().st_mtime - IN_USE_SECONDS - age
        os.utime(path, (past, past))
    cache.get("now", fetched(bytes(100)))
    assert {path.name for path in cache.folder.iterdir()} == {"new", "now"}


def test_what_is_in_use_stays_whatever_the_limit(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit=150)
    for name in ("one", "two"):
        cache.get(name, fetched(bytes(100)))
    assert {path.name for path in cache.folder.iterdir()} == {"one", "two"}


def test_a_copy_is_fetched_once_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit=1000)

    def fail(path: str) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get("name", fail)
    assert list(cache.folder.iterdir()) == []
    assert cache.get("name", fetched(b"whole")).read_bytes() == b"whole"
    assert cache.get("name", fail).read_bytes() == b"whole"


def test_a_model_that_was_made_anew_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLD_CACHE", str(tmp_path))
    store = Store("memory://anew")
    for content in (b"one", b"other"):
        store.publish("models/00-aa/weights", content)
        assert (Path(store.local_copy("models/00-aa")) / "weights").read_bytes() == content
