"""No record of a round has a kept triplet or text of a dropped region, whatever its filters did."""

import json
from dataclasses import replace
from pathlib import Path

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.execution.publishing import publish_round, publish_signals
from pipeline.execution.reading import ShardTables, read_rows
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan.graph import round_zero
from pipeline.plan.shard_state import ShardState
from pipeline.rows import Row
from pipeline.schema import Annotations, Region, Text, Triplet
from pipeline.storage.store import Store

SHARD = "shard-000000"
BOX = (10.0, 10.0, 50.0, 50.0)


def test_what_a_late_filter_drops_takes_its_texts_and_triplets_along(tmp_path: Path) -> None:
    run = parse(compose([f"work={tmp_path}", "source.count=1", "source.shard_size=1"]))
    store = Store(run.work)
    shards = assign(store, run.source, list_source(run.source))
    state = Ingest(store.url, run.source, shards)(SHARD, ShardState())
    planned = round_zero(run)
    # As if this one stage had made everything, and a stage of one's own had dropped the region.
    detect = planned[0]
    last = replace(planned[-1], reads=(detect.name,))
    region = Region(id="r", box=BOX, phrase="star", dropped="my_rule")
    text = Text(id="t", granularity="brief", text="A star sits alone.", parents=["r"])
    own = Text(id="m", granularity="detailed", text="A star.", source="captioner")
    triplets = [
        Triplet(id="p", text_id="t", phrase="A star", start=0, end=6, box=BOX, parents=["t", "r"]),
        Triplet(id="q", text_id="m", phrase="A star", start=0, end=6, box=BOX, parents=["m", "r"]),
        Triplet(id="g", text_id="m", phrase="A star", start=0, end=6, box=BOX, parents=["m"]),
    ]
    made = Annotations(texts=[text, own], regions=[region], triplets=triplets)
    rows = [Row(key="scene_000000", annotations=made)]
    tables = ShardTables(store, {detect.name: detect}, SHARD)
    state = state.with_(detect.name, publish_signals(tables, detect, rows, state))
    publish_round(tables, last, state)

    (record,) = read_rows(store, last, SHARD)
    dropped = {item.id: item.dropped for item in record.annotations.all()}
    assert dropped == {
        "r": "my_rule",
        "t": "region_dropped",
        "m": None,
        "p": "text_dropped",
        "q": "region_dropped",
        "g": None,
    }
    (manifest,) = Path(store.path(last.folder)).glob("manifests/*")
    counts = json.loads(manifest.read_text())["annotations"]["triplets"]
    assert counts["dropped"] == {"region_dropped": 1, "text_dropped": 1}
