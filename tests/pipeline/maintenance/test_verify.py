"""What `fld verify` and `fld gc` make of files that no manifest vouches for."""

from pathlib import Path

import pytest

from pipeline.config import saved
from pipeline.config.compose import compose
from pipeline.maintenance import gc
from pipeline.maintenance.verify import Problem, verify, withdraw
from pipeline.storage import layout
from pipeline.storage.layout_dedup import DEDUP_LATEST as LATEST
from pipeline.storage.manifest import Manifest
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store
from stages.dedup import Duplicate

COUNTS = {"in": 0, "kept": 0, "dropped": {}, "failed": {}}
GROUPS, HASHES, OLD = "dedup/0123456789ab", "dedup/hashes-0123456789ab", "dedup/ba9876543210"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A work folder with a saved config and what `fld dedup` leaves, run twice."""
    made = Store(str(tmp_path / "work"))
    saved.save(made, compose([f"work={made.url}"]))
    for folder in (OLD, GROUPS):
        publish_table(made, f"{folder}/groups.parquet", Duplicate, [])
        made.publish_json(f"{folder}/summary.json", {"images": 0})
    made.publish_manifest(
        HASHES, Manifest(shard="shard-000000", inputs="aa", files={}, samples=COUNTS)
    )
    made.publish_json(LATEST, {"groups": GROUPS, "hashes": HASHES})
    return made


def mended(store: Store, deep: bool = True) -> list[tuple[str, str, str]]:
    problems = verify(store, deep).problems
    withdraw(store, problems)
    return [(each.file, each.problem, each.action) for each in problems]


def test_after_dedup_nothing_is_broken_and_only_what_an_earlier_one_made_can_go(
    store: Store,
) -> None:
    assert verify(store, deep=True).problems == verify(store, deep=False).problems == []
    garbage = gc.unused(store)
    assert [each.folder for each in garbage] == [OLD, "journal/tmp"]
    gc.remove(store, garbage)
    assert store.list("dedup") == [GROUPS[6:], HASHES[6:], "latest.json"]
    assert verify(store, deep=True).problems == []


def test_a_stray_file_among_the_manifests_is_named_and_removed(store: Store) -> None:
    stray = f"{HASHES}/manifests/.DS_Store"
    store.publish(stray, b"\0\0\0\1Bud1")
    assert mended(store) == [(stray, "no manifest has such a name", "remove")]
    assert verify(store, deep=True).problems == []
    assert list(store.done(HASHES)) == ["shard-000000"]


@pytest.mark.parametrize("name", [layout.CONFIG, "images/listing/000000.parquet"])
def test_what_nothing_could_make_anew_is_named_and_kept(store: Store, name: str) -> None:
    store.publish(name, b"{[")
    ((file, problem, action),) = mended(store)
    assert (file, problem[:12], action) == (name, "unreadable: ", "keep")
    assert store.read(name) == b"{["


@pytest.mark.parametrize("name", [f"{GROUPS}/groups.parquet", f"{GROUPS}/summary.json", LATEST])
def test_a_broken_result_of_dedup_is_removed_so_that_it_is_made_anew(
    store: Store, name: str
) -> None:
    store.publish(name, b"{[")
    assert [file for file, *_ in mended(store)] == [name]
    assert not store.exists(name)
    if name.startswith(GROUPS):
        assert not store.exists(f"{GROUPS}/summary.json")
    assert verify(store, deep=True).problems == []


def test_a_problem_is_mended_as_it_says_whatever_its_name(store: Store) -> None:
    broken = Problem(
        file=f"{HASHES}/shard-000000.parquet",
        problem="",
        action="withdraw",
        folder=HASHES,
        shard="shard-000000",
    )
    withdraw(store, [broken])
    assert store.done(HASHES) == {} and store.withdrawn(HASHES, "shard-000000") is not None
