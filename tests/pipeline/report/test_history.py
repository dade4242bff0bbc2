from pathlib import Path

from pipeline.report.history import sample_history
from pipeline.rows import ImageRow, IndexRow
from pipeline.storage.parquet import publish_table
from pipeline.storage.round_parts import publish_parts, round_part
from pipeline.storage.store import Store


def test_a_sample_whose_image_was_lost_after_the_round_is_told_from_its_row(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    publish_table(
        store,
        "images/shard-000000.parquet",
        ImageRow,
        [ImageRow(key="a", name="a.jpg", failed="truncated")],
    )
    row = IndexRow(
        key="a",
        shard="shard-000000",
        image_offset=0,
        image_size=1,
        json_offset=1,
        json_size=1,
        width=1,
        height=1,
        texts=0,
        regions=0,
        text_regions=0,
        triplets=0,
    )
    publish_table(store, "rounds/00-aa/index.parquet/shard-000000.parquet", IndexRow, [row])
    publish_parts(store, "rounds/00-aa", [round_part("shard-000000", [row])])
    store.publish_json("head.json", {"round": "00-aa", "model": None, "attempts": []})
    history = sample_history(store, "a")
    assert (history.shard, history.image.failed, history.rounds) == (
        "shard-000000",
        "truncated",
        [],
    )
