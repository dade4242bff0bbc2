"""What the drills take for equal, and which samples they name where it is not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.drills.compare import Difference, difference
from pipeline.drills.faults import DRILLS, POISONED
from pipeline.rows import Row
from pipeline.schema import Annotations, Text
from pipeline.storage import layout, layout_journal
from pipeline.storage.manifest import Manifest, count_samples
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter

SHARDS = {"shard-000000": ("a", "b"), "shard-000001": ("c", "d")}
FOLDER = layout.named_signals("words-12345678")
TEXTS = {"a": "one", "b": "two", "c": "three", "d": "four"}


def work(folder: Path, texts: Mapping[str, str]) -> Store:
    """A work folder with a text about each of four samples, in tables and in tars."""
    store = Store(str(folder))
    for shard, keys in SHARDS.items():
        rows = []
        with store.publishing(layout.round_tar("rounds/00-12345678", shard)) as sink:
            tar = TarWriter(sink)
            for key in keys:
                text = Text(granularity="alt", text=texts[key])
                rows.append(Row(key=key, annotations=Annotations(texts=[text])))
                tar.write(key, {"json": texts[key].encode()})
            tar.close()
        table = layout.signals_table(FOLDER, shard)
        files = {table: publish_table(store, table, Row, rows)}
        manifest = Manifest(
            shard=shard, inputs="0" * 12, files=files, samples=count_samples(2, [None] * 2)
        )
        store.publish_manifest(layout.IMAGES, manifest)
    store.publish_json(layout.HEAD, {"round": "00-12345678"})
    # These name the work folder, or tell when it was written.
    store.publish(layout.CONFIG, f"work: {folder}".encode())
    store.publish_json(layout_journal.LEASE, {"host": str(folder)})
    return store


def test_what_names_the_work_folder_is_not_compared(tmp_path: Path) -> None:
    one, other = work(tmp_path / "one", TEXTS), work(tmp_path / "other", TEXTS)
    assert difference(one, other) == Difference((), frozenset(), frozenset())


def test_a_sample_that_differs_is_named_with_its_shard_and_its_files(tmp_path: Path) -> None:
    one = work(tmp_path / "one", TEXTS)
    other = work(tmp_path / "other", {**TEXTS, "c": "3"})
    found = difference(one, other)
    assert found.samples == {"c"} and found.shards == {"shard-000001"}
    named = [name for name in found.files if not name.startswith("images/manifests/shard-000001.")]
    # A manifest holds the digest of its files in its name, so each side has one of its own.
    assert named == ["rounds/00-12345678/shards/shard-000001.tar", f"{FOLDER}/shard-000001.parquet"]
    assert len(found.files) == len(named) + 2


@pytest.mark.parametrize("name", [layout.HEAD, layout.signals_table(FOLDER, "shard-000000")])
def test_a_file_that_only_one_side_has_or_whose_bytes_differ_is_named(
    tmp_path: Path, name: str
) -> None:
    one, other = work(tmp_path / "one", TEXTS), work(tmp_path / "other", TEXTS)
    other.remove(name)
    assert difference(one, other).files == (name,)
    assert difference(other, one).files == (name,)
    other.publish(name, one.read(name)[:-1])
    assert difference(one, other).files == (name,)


def test_only_the_poisoned_sample_may_differ_and_it_must() -> None:
    nothing = Difference((), frozenset(), frozenset())
    poisoned = Difference(("a.parquet",), frozenset({"shard-000001"}), frozenset({POISONED}))
    more = Difference(("a.parquet",), poisoned.shards, frozenset({POISONED, "scene_000000"}))
    elsewhere = Difference(("a.parquet",), frozenset(SHARDS), poisoned.samples)
    ends = {}
    for name in ("poison", "driver"):
        found = (nothing, poisoned, more, elsewhere)
        ends[name] = [DRILLS[name].ends_well(difference) for difference in found]
    assert ends == {
        "poison": [False, True, False, False],
        "driver": [True, False, False, False],
    }
