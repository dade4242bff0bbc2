import hashlib
import json
from pathlib import Path

import pytest

from pipeline.errors import SamplesLost
from pipeline.storage import layout_journal
from pipeline.storage.manifest import Digests, FileDigest, Manifest, SampleCounts, digest
from pipeline.storage.store import Store

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
    assert store.publish("x", b"abc") == FileDigest(hashlib.sha256(b"abc").hexdigest(), 3)
    assert (tmp_path / "x").read_bytes() == b"abc"


def test_what_is_done_is_read_from_the_names_of_manifests(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    files = {"s/shard-000001.parquet": FileDigest("11", 1)}
    manifest = Manifest(shard="shard-000001", inputs="aa", files=files, samples=COUNTS)
    store.publish_manifest("s", manifest)
    assert store.done("s") == {"shard-000001": Digests("aa", digest("11"))}
    assert store.counts("s") == {
        "shard-000001": SampleCounts(COUNTS["in"], sum(COUNTS["failed"].values()))
    }
    assert list(store.manifests("s")) == [manifest]


def test_a_withdrawn_manifest_does_not_count_and_says_what_to_do_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for shard in ("shard-000001", "shard-000002"):
        files = {f"s/{shard}.parquet": FileDigest("11", 1)}
        store.publish_manifest(
            "s", Manifest(shard=shard, inputs="aa", files=files, samples=COUNTS, reads={"a": "b"})
        )
    store.withdraw("s", {"shard-000001": ["key"]})
    assert list(store.done("s")) == ["shard-000002"]
    kept = store.read_json(layout_journal.withdrawn("s", "shard-000001"))
    assert (kept["redo"], kept["reads"], kept["inputs"]) == (["key"], {"a": "b"}, "aa")


def test_a_stray_file_among_the_manifests_is_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.publish_manifest(
        "s", Manifest(shard="shard-000001", inputs="aa", files={}, samples=COUNTS)
    )
    for stray in (".DS_Store", "shard-000001 (copy).json", "a.b.c"):
        store.publish(f"s/manifests/{stray}", b"")
    assert list(store.done("s")) == list(store.counts("s")) == ["shard-000001"]
    assert [manifest.shard for manifest in store.manifests("s")] == ["shard-000001"]
    store.withdraw("s", {"shard-000001": ()})
    assert store.done("s") == {}


def test_a_manifest_that_is_withdrawn_while_others_are_read_is_left_out(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    shards = [f"shard-{i:06d}" for i in range(40)]
    for shard in shards:
        store.publish_manifest("s", Manifest(shard=shard, inputs="aa", files={}, samples=COUNTS))
    listed = Store.list
    gone = f"s/manifests/{shards[5]}"

    class Slow(Store):
        def list(self, folder: str) -> list[str]:
            names = listed(self, folder)
            for name in names:
                if f"{folder}/{name}".startswith(gone):
                    self.remove(f"{folder}/{name}")
            return names

    assert [m.shard for m in Slow(str(tmp_path)).manifests("s")] == [
        s for s in shards if not gone.endswith(s)
    ]


def test_a_file_is_no_folder_with_names_in_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.publish("a", b"")
    assert store.list("a") == store.list("a/b") == []


@pytest.mark.parametrize("url", ["abfs://bucket/work", "nosuch://bucket/work"])
def test_a_store_that_needs_a_package_is_refused_in_words(url: str) -> None:
    with pytest.raises(ValueError, match=f"work={url}: .*(nstall|not known)"):
        Store(url)


def test_a_manifest_that_loses_a_sample_is_refused(tmp_path: Path) -> None:
    lost = Manifest(shard="s", inputs="a", files={}, samples={**COUNTS, "in": 4})
    with pytest.raises(SamplesLost, match="x: s: samples went in 4 and came out 3"):
        Store(str(tmp_path)).publish_manifest("x", lost)


def test_a_manifest_that_loses_an_annotation_is_refused(tmp_path: Path) -> None:
    lost = Manifest(
        shard="s",
        inputs="a",
        files={},
        samples=COUNTS,
        annotations={"texts": {"in": 2, "kept": 1, "dropped": {}}},
    )
    with pytest.raises(SamplesLost, match="x: s: texts went in 2 and came out 1"):
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
