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
from pipeline.report.pictures import read_pictures
from pipeline.rows import Record
from pipeline.storage import layout, layout_journal
from pipeline.storage.images import decode_image, read_image_bytes, read_images, with_images
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from pipeline.storage.tars import read_tar

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


def break_tar(store: Store, how: str) -> Path:
    """Break the tar of the images. After `flipped` its first image can still be decoded."""
    tar = Path(store.path(layout.images_tar(SHARD)))
    data = bytearray(tar.read_bytes())
    first = read_images(store, SHARD)[0]
    assert first.offset is not None and first.size is not None
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "beheaded":
        data[first.offset : first.offset + 3] = b"no!"
    else:
        data[first.offset + first.size // 2] ^= 0x55
        decode_image(bytes(data[first.offset : first.offset + first.size]))
    tar.write_bytes(data)
    return tar


@pytest.mark.parametrize("how", ["cut", "beheaded", "flipped"])
def test_a_broken_tar_of_images_makes_no_sample_fail(
    done: tuple[Store, ShardState, list[Node]], how: str
) -> None:
    store, state, nodes = done
    tar = break_tar(store, how)
    images = state.only([layout.IMAGES])
    with pytest.raises(BrokenFiles, match=f"{tar}: other bytes|{tar}: [0-9]+ bytes, not"):
        Worker(store.url, nodes, [nodes[0].name])(SHARD, images)
    assert store.done(layout.IMAGES) == {}


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_no_round_is_published_with_images_that_broke_after_they_were_labelled(
    done: tuple[Store, ShardState, list[Node]], how: str
) -> None:
    store, state, nodes = done
    tar = break_tar(store, how)
    others = Worker(store.url, nodes, [node.name for node in nodes[1:]])
    with pytest.raises(BrokenFiles, match=f"{tar}: other bytes|{tar}: [0-9]+ bytes, not"):
        others(SHARD, state)
    (node,) = (node for node in nodes if node.kind == "round")
    assert store.done(node.folder) == {} and not store.exists(node.tar(SHARD))
    assert store.done(layout.IMAGES) == {}


@pytest.mark.parametrize("how", ["cut", "beheaded", "flipped"])
def test_who_reads_broken_images_of_a_finished_round_says_which_file_and_what_helps(
    done: tuple[Store, ShardState, list[Node]], how: str
) -> None:
    store, state, nodes = done
    Worker(store.url, nodes, [node.name for node in nodes])(SHARD, state)
    (node,) = (node for node in nodes if node.kind == "round")
    tar = break_tar(store, how)
    told = f"{tar}: scene_00000[0-3] has other bytes than were stored; `fld verify --deep` "
    with pytest.raises(BrokenFiles, match=told):
        read_pictures(store, [layout.round_name(node.folder)], 4)
    with pytest.raises(BrokenFiles, match=told):
        list(read_image_bytes(store, SHARD))
    with open(store.path(node.tar(SHARD)), "rb") as file:
        samples = [(key, {"json": members["json"]}) for key, members in read_tar(file)]
    with pytest.raises(BrokenFiles, match=told):
        list(with_images(store, SHARD, node.tar(SHARD), samples))
    table = Path(store.path(node.table(SHARD)))
    break_byte(table, 0.5)
    with pytest.raises(BrokenFiles, match=f"{table}: .*; `fld verify --deep` withdraws it"):
        read_table(store, node.table(SHARD), Record)


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
    log = store.read(layout_journal.log("detect", SHARD)).decode()
    assert log.count("scene_00000") == 4 and "scene_000003: out_of_memory" in log
    assert "Traceback (most recent call last)" in log
