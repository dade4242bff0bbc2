"""What `fld status` counts while manifests come and go."""

from pathlib import Path

import pytest

from pipeline.ingest import failures
from pipeline.ingest.assignment_log import ShardAssignment, append_assignments
from pipeline.storage.manifest import Manifest
from pipeline.storage.store import Store


def publish(store: Store, folder: str, shard: str, kept: int, **failed: int) -> Manifest:
    counts = {"in": kept + sum(failed.values()), "kept": kept, "dropped": {}, "failed": failed}
    manifest = Manifest(shard=shard, inputs="aa", files={}, samples=counts)
    store.publish_manifest(folder, manifest)
    return manifest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five images failed in two shards; two of them came in at another try."""
    made = Store(str(tmp_path))
    publish(made, "images", "shard-000000", 3, unreadable=2, truncated=1)
    publish(made, "images", "shard-000001", 2, unreadable=2)
    publish(made, "images", "shard-000002", 2)
    again = [
        ShardAssignment(shard="shard-000002", name=n, replaces="shard-000000", reason="unreadable")
        for n in "ab"
    ]
    append_assignments(made, again)
    return made


def samples(store: Store) -> dict[str, object]:
    found: dict[str, object] = failures.count(store, "ingest", "images", 3)["samples"]
    return found


def test_images_that_came_in_at_another_try_no_longer_count(store: Store) -> None:
    assert samples(store) == {"in": 10, "kept": 7, "failed": {"truncated": 1, "unreadable": 2}}


def test_a_shard_that_is_done_again_does_not_count_twice(store: Store) -> None:
    store.withdraw("images", {"shard-000000": ()})
    assert samples(store) == {"in": 6, "kept": 4, "failed": {"unreadable": 2}}


def test_a_lost_failure_shows_in_the_sum(store: Store) -> None:
    """The sum comes from the names of manifests, and the failures come from their content."""
    name = next(n for n in store.list("images/manifests") if n.startswith("shard-000001"))
    body = Manifest(
        shard="shard-000001",
        inputs="aa",
        files={},
        samples={"in": 4, "kept": 3, "dropped": {}, "failed": {"unreadable": 1}},
    )
    store.publish(f"images/manifests/{name}", body.encode())
    assert samples(store) == {"in": 10, "kept": 7, "failed": {"truncated": 1, "unreadable": 1}}
