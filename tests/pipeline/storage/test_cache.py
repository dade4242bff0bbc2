"""A file of a remote store, and a cache with a limit."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.storage.cache import IN_USE_SECONDS, Cache
from pipeline.storage.remote_file import opened
from pipeline.storage.store import Store


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
