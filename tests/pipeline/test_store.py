import hashlib
import json
from pathlib import Path

import pytest

from pipeline.store import Manifest, Store, digest, withdrawn_name

COUNTS = {"in": 3, "kept": 1, "dropped": {"low_score": 1}, "failed": {"truncated": 1}}


def test_a_file_that_fails_half_way_is_never_seen(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.publish("a/b.bin", b"old")
    with pytest.raises(RuntimeError), store.publishing("a/b.bin") as sink:
        sink.write(b"half of the new")
        raise RuntimeError
    assert store.read("a/b.bin") == b"old"
    assert store.list("a") == ["b.bin"]


def test_a_file_that_fails_half_way_is_not_seen_on_an_object_store_either() -> None:
    store = Store("memory://half")
    with pytest.raises(RuntimeError), store.publishing("a.bin") as sink:
        sink.write(b"half")
        raise RuntimeError
    assert not store.exists("a.bin")


def test_publishing_returns_the_hash_and_size_of_the_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert store.publish("x", b"abc") == {"sha256": hashlib.sha256(b"abc").hexdigest(), "size": 3}
    assert (tmp_path / "x").read_bytes() == b"abc"


def test_what_is_done_is_read_from_the_names_of_manifests(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    files = {"s/shard-000001.parquet": {"sha256": "11", "size": 1}}
    manifest = Manifest(shard="shard-000001", inputs="aa", files=files, samples=COUNTS)
    store.publish_manifest("s", manifest)
    assert store.done("s") == {"shard-000001": ("aa", digest("11"))}
    assert store.counts("s") == {"shard-000001": (COUNTS["in"], sum(COUNTS["failed"].values()))}
    assert list(store.manifests("s")) == [manifest]


def test_a_withdrawn_manifest_does_not_count_and_says_what_to_do_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for shard in ("shard-000001", "shard-000002"):
        files = {f"s/{shard}.parquet": {"sha256": "11", "size": 1}}
        store.publish_manifest("s", Manifest(shard=shard, inputs="aa", files=files, samples=COUNTS, reads={"a": "b"}))
    store.withdraw("s", {"shard-000001": ["key"]})
    assert list(store.done("s")) == ["shard-000002"]
    kept = store.read_json(withdrawn_name("s", "shard-000001"))
    assert (kept["redo"], kept["reads"], kept["inputs"]) == (["key"], {"a": "b"}, "aa")


def test_a_manifest_that_loses_a_sample_is_refused(tmp_path: Path) -> None:
    lost = Manifest(shard="s", inputs="a", files={}, samples={**COUNTS, "in": 4})
    with pytest.raises(AssertionError, match="samples went in 4 and came out 3"):
        Store(str(tmp_path)).publish_manifest("x", lost)


def test_a_manifest_that_loses_an_annotation_is_refused(tmp_path: Path) -> None:
    lost = Manifest(
        shard="s", inputs="a", files={}, samples=COUNTS, annotations={"texts": {"in": 2, "kept": 1, "dropped": {}}}
    )
    with pytest.raises(AssertionError, match="texts went in 2 and came out 1"):
        Store(str(tmp_path)).publish_manifest("x", lost)


def test_a_memory_file_system_works_as_a_disk_does() -> None:
    store = Store("memory://work")
    store.publish_json("a/b.json", {"x": 1})
    assert store.list("a") == ["b.json"]
    assert json.loads(store.read("a/b.json")) == {"x": 1}
    assert store.list("nothing") == []


def test_a_work_path_beneath_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"work=.*/file/deeper: .*/file is a file; give a folder"):
        Store(str(tmp_path / "file" / "deeper")).check_usable()
