"""A worker that reads a broken file blames no sample, and the next run makes the file again."""

from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.errors import BrokenFiles
from pipeline.execution import pictures
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState, plan
from pipeline.storage import layout
from pipeline.storage.store import Store

SHARD = "shard-000000"
SETTINGS = [
    "source.count=4",
    "source.shard_size=4",
    "refine.rounds=0",
    "specialists=detector",
    "specialists.detect.use=contours",
    "filters.text=null",
    "filters.triplet=null",
]


@pytest.fixture
def done(tmp_path: Path) -> tuple[Store, ShardState, list[Node]]:
    """A shard of four scenes that the detector has seen, and the nodes of round 0."""
    run = parse(compose([f"work={tmp_path}", *SETTINGS]))
    store = Store(run.work)
    shards = assign(store, run.source, list_source(run.source))
    ingested = Ingest(run.work, run.source, shards)(SHARD, ShardState())
    nodes = graph.round_zero(run)
    return store, Worker(store.url, nodes, [nodes[0].name])(SHARD, ingested), nodes


def break_byte(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0.2, 0.5])
def test_a_broken_table_is_found_and_made_again(
    done: tuple[Store, ShardState, list[Node]], place: float
) -> None:
    store, state, nodes = done
    table = Path(store.path(nodes[0].table(SHARD)))
    whole = table.read_bytes()
    break_byte(table, place)
    others = Worker(store.url, nodes, [node.name for node in nodes[1:]])
    with pytest.raises(BrokenFiles, match=rf"{table}: other bytes than were written"):
        others(SHARD, state)
    again = plan(store, nodes, {SHARD: state.only([layout.IMAGES])}).states[SHARD]
    assert not again.has(nodes[0].name)
    Worker(store.url, nodes, [node.name for node in nodes])(SHARD, again)
    assert table.read_bytes() == whole


@pytest.mark.parametrize("cut", [False, True], ids=["flipped", "cut"])
def test_a_broken_tar_of_images_makes_no_sample_fail(
    done: tuple[Store, ShardState, list[Node]], cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, state, nodes = done
    tar = Path(store.path(layout.images_tar(SHARD)))
    if cut:
        tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    else:
        break_byte(tar, 0.0)
        data = bytearray(tar.read_bytes())
        data[512:515] = b"no!"  # the first bytes of the first image
        tar.write_bytes(data)
    images = state.only([layout.IMAGES])
    with pytest.raises(BrokenFiles, match=f"{tar}: "):
        Worker(store.url, nodes, [nodes[0].name])(SHARD, images)
    assert store.done(layout.IMAGES) == {}


def test_a_failed_sample_has_its_traceback_in_the_journal(
    done: tuple[Store, ShardState, list[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, state, nodes = done

    def choking(data: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(pictures, "decode_image", choking)
    images = state.only([layout.IMAGES])
    store.remove(nodes[0].folder)
    Worker(store.url, nodes, [nodes[0].name], keep_going=True)(SHARD, images)
    log = store.read(layout.log("detect", SHARD)).decode()
    assert log.count("scene_00000") == 4 and "scene_000003: out_of_memory" in log
    assert "Traceback (most recent call last)" in log
