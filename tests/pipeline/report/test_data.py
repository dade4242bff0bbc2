"""Which samples a report shows of a work folder, and which failures."""

from __future__ import annotations

import pytest

from pipeline.quality.doubt import doubt_of
from pipeline.refinement.round_metrics import RoundCounts, metrics
from pipeline.report.data import report_data
from pipeline.report.gallery import gallery
from pipeline.report.views import ReportData
from pipeline.rows import IndexRow, Record
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.parquet import read_table
from pipeline.storage.round_parts import publish_parts, round_part
from pipeline.storage.rounds import RoundState, open_round, publish_round_state
from pipeline.storage.store import Store
from pipeline.training.selection import HeldOut
from tests.pipeline.release.rounds import make_round, write_scenes

SCENES = 9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """9 scenes of equal doubt in shards of 3, and two broken files."""
    top = tmp_path_factory.mktemp("work")
    write_scenes(top / "images", SCENES)
    (top / "images" / "half.jpg").write_bytes((top / "images/scene_000000.jpg").read_bytes()[:999])
    (top / "images" / "text.jpg").write_text("no image")
    make_round(top / "work", top / "images", shard_size=3)
    store = Store(str(top / "work"))
    opened = open_round(store.url)
    counts = RoundCounts(HeldOut(share=0.0))
    parts = []
    for shard in opened.shards():
        counts.add_shard(opened.read(shard), None, {})
        rows = read_table(store, layout.shard_index(opened.folder, shard), IndexRow)
        parts.append(round_part(shard, rows))
    publish_parts(store, opened.folder, parts)
    measured = metrics(counts.summary(), with_changes=False)
    store.publish_json(layout.round_metrics(opened.folder), measured)
    state = RoundState(
        round=0,
        parent=None,
        model=None,
        models=[],
        status="accepted",
        reason="",
        evidence={},
    )
    publish_round_state(store, opened.folder, state)
    return store


def records(store: Store) -> list[Record]:
    return list(open_round(store.url).records())


def with_ranking(store: Store, ranking: list[Json]) -> ReportData:
    """The report of 8 samples of a round with this ranking by doubt."""
    name = layout.round_metrics(open_round(store.url).folder)
    measured = store.read_json(name)
    store.publish_json(name, {**measured, "least_sure": ranking})
    try:
        return report_data(store, "x", 8)
    finally:
        store.publish_json(name, measured)


def test_a_round_ranks_all_its_samples_by_the_doubt_that_reviews_use(store: Store) -> None:
    (view,) = report_data(store, "x").rounds
    expected = {record.key: doubt_of(record.annotations) for record in records(store)}
    assert {sample.key: sample.value for sample in view.least_sure} == expected
    assert [sample.key for sample in view.least_sure] == sorted(expected)  # all are equal
    assert len(expected) == SCENES and view.most_changed == []


def test_a_small_report_has_the_least_sure_of_all_and_others_by_chance(store: Store) -> None:
    keys = [record.key for record in records(store)]
    ranking = [{"key": key, "value": 0.9} for key in (keys[7], keys[2], keys[5])]
    data = with_ranking(store, ranking)
    shown = [view.key for view in data.pictures]
    # Half of 8 samples are picked: two by doubt, two that failed, if some have.
    assert len(shown) == 8 and {keys[7], keys[2]} <= set(shown)
    (round_,) = gallery(data).values["rounds"]
    assert [shown[entry["sample"]] for entry in round_["unsure"]] == [keys[7], keys[2]]


def test_a_round_that_an_older_version_counted_has_no_rankings(store: Store) -> None:
    name = layout.round_metrics(open_round(store.url).folder)
    measured = store.read_json(name)
    old = {key: measured[key] for key in measured if key not in ("least_sure", "most_changed")}
    store.publish_json(name, old)
    (view,) = report_data(store, "x").rounds
    store.publish_json(name, measured)
    assert view.least_sure == [] == view.most_changed


def test_images_that_did_not_come_in_are_counted_and_listed(store: Store) -> None:
    data = report_data(store, "x")
    assert data.failures == data.failed_images == 2
    assert data.images == len(data.pictures) == SCENES
    told = [(view.stage, view.name, view.reason) for view in data.failed]
    assert told == [("ingest", "half.jpg", "truncated"), ("ingest", "text.jpg", "not_an_image")]
    listed = gallery(data).values["failed"]
    assert [failure["sample"] for failure in listed] == [None, None]
    assert all(failure["key"] and failure["detail"] for failure in listed)
