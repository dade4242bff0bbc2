"""What goes into a round is counted apart from what comes out of it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.run import Entry, RoundsConfig
from pipeline.errors import SamplesLost
from pipeline.execution.publishing import publish_round
from pipeline.execution.reading import ShardTables
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow, Row
from pipeline.schema import Annotations, Region
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter

SHARD = "shard-000000"
BOX = (0.0, 0.0, 1.0, 1.0)
FOUND, FILTER = (
    Node(
        name=f"0.{name}",
        entry=Entry(name=name, use=name, options=RoundsConfig()),
        round=0,
        reads=(),
        fingerprint="aa",
        folder=f"signals/{name}-aa",
    )
    for name in ("detect", "nms")
)
ROUND = replace(
    FOUND, name="0.round", reads=(FOUND.name, FILTER.name), folder="rounds/00-aa", kind="round"
)
DONE = ShardState(dict.fromkeys((IMAGES, FOUND.name, FILTER.name), "out"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One image with three regions, of which a filter dropped one."""
    made = Store(str(tmp_path))
    sha = hashlib.sha256(b"pixels").hexdigest()
    with made.publishing(f"{IMAGES}/{SHARD}.tar") as sink:
        tar = TarWriter(sink)
        (member,) = tar.write("a", {"png": b"pixels"})
        tar.close()
    image = ImageRow(
        key="a",
        name="a.png",
        member=member.name,
        offset=member.offset,
        size=member.size,
        width=1,
        height=1,
        sha256=sha,
    )
    publish_table(made, f"{IMAGES}/{SHARD}.parquet", ImageRow, [image])
    regions = [Region(id=f"detect-{i}", box=BOX, phrase="dog") for i in range(3)]
    dropped = [replace(regions[1], dropped="overlaps")]
    for node, said in ((FOUND, regions), (FILTER, dropped)):
        publish_table(
            made, node.table(SHARD), Row, [Row(key="a", annotations=Annotations(regions=said))]
        )
    return made


def publish(store: Store) -> None:
    tables = ShardTables(store, {node.name: node for node in (FOUND, FILTER)}, SHARD)
    publish_round(tables, ROUND, DONE)


def test_a_round_counts_what_went_in_and_what_became_of_it(store: Store) -> None:
    publish(store)
    (manifest,) = store.manifests(ROUND.folder)
    assert manifest.annotations["regions"] == {"in": 3, "kept": 2, "dropped": {"overlaps": 1}}
    assert manifest.samples == {"in": 1, "kept": 1, "dropped": {}, "failed": {}}


def test_a_round_that_forgets_annotations_is_not_published(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Annotations, "overlaid", lambda self, later: later)
    with pytest.raises(
        SamplesLost, match="rounds/00-aa: shard-000000: regions went in 3 and came out 0"
    ):
        publish(store)
    assert store.done(ROUND.folder) == {}
