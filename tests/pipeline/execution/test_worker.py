import functools
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.execution import pictures
from pipeline.execution.calls import call
from pipeline.execution.isolation import Isolated
from pipeline.execution.pictures import Pictures, StageInput
from pipeline.execution.reading import read_rows
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow
from pipeline.schema import Annotations, Region
from pipeline.storage.images import read_images
from pipeline.storage.layout_journal import ATTEMPTS
from pipeline.storage.process import this_process
from pipeline.storage.store import Store
from stages.base import Batch, Failed, Result, Sample, SampleError

SHARD = "shard-000000"
BOX = (0.0, 0.0, 1.0, 1.0)


def samples(*keys: str) -> list[Sample]:
    return [Sample(key=key, size=(4, 4)) for key in keys]


def labelled(batch: Batch) -> list[Result]:
    return [Annotations(regions=[Region(box=BOX, phrase=sample.key)]) for sample in batch]


def phrases(results: Sequence[Result]) -> list[str]:
    return [r.reason if isinstance(r, Failed) else r.regions[0].phrase for r in results]


def test_a_sample_that_raises_fails_alone_and_the_rest_of_its_batch_is_done() -> None:
    def stage(batch: Batch) -> list[Result]:
        if any(sample.key == "bad" for sample in batch):
            raise ZeroDivisionError("by zero")
        return labelled(batch)

    results = call(stage, samples("a", "b", "bad", "c", "d"))
    assert phrases(results) == ["a", "b", "error", "c", "d"]
    assert results[2] == Failed("error", "ZeroDivisionError: by zero")


def test_a_stage_names_the_reason_itself() -> None:
    def stage(batch: Batch) -> list[Result]:
        raise SampleError("text_too_long", "300 tokens")

    assert call(stage, samples("a")) == [Failed("text_too_long", "300 tokens")]


def test_a_batch_that_runs_out_of_memory_is_halved_until_it_fits() -> None:
    sizes = []

    def stage(batch: Batch) -> list[Result]:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise MemoryError
        return labelled(batch)

    assert phrases(call(stage, samples(*"abcdefgh"))) == list("abcdefgh")
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_a_sample_that_never_fits_fails_with_out_of_memory() -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch.cuda names it."""

    def stage(batch: Batch) -> list[Result]:
        if "huge" in [sample.key for sample in batch]:
            raise OutOfMemoryError("CUDA out of memory")
        return labelled(batch)

    assert phrases(call(stage, samples("a", "huge"))) == ["a", "out_of_memory"]


class Killer:
    """Kills its own process on one sample, as a bug in a native library does."""

    def __call__(self, batch: Batch) -> list[Result]:
        if any(sample.key == "deadly" for sample in batch):
            os.kill(os.getpid(), signal.SIGSEGV)
        return labelled(batch)


@pytest.mark.subprocess
def test_in_a_child_process_the_sample_that_kills_is_found_and_the_rest_is_done() -> None:
    stage = Isolated(functools.partial(Killer), threads=1)
    results = call(stage, samples("a", "b", "deadly", "c"))
    stage.close()
    assert phrases(results) == ["a", "b", "crashed", "c"]
    assert results[2] == Failed("crashed", "StageDied: the process ended with signal 11")


class Raiser:
    def __call__(self, batch: Batch) -> list[Result]:
        raise SampleError("odd", "inside the child")


@pytest.mark.subprocess
def test_an_ordinary_error_of_a_child_keeps_its_reason() -> None:
    stage = Isolated(functools.partial(Raiser), threads=1)
    assert call(stage, samples("a")) == [Failed("odd", "inside the child")]
    stage.close()


def unloadable() -> Raiser:
    raise OSError("weights unreadable")


@pytest.mark.subprocess
def test_a_model_that_cannot_be_loaded_is_no_samples_fault() -> None:
    with pytest.raises(OSError, match="weights unreadable"):
        Isolated(unloadable, threads=1)


@pytest.mark.subprocess
def test_a_child_that_died_while_nobody_asked_is_no_samples_fault() -> None:
    stage = Isolated(functools.partial(Killer), threads=1)
    os.kill(stage._process.pid or 0, signal.SIGKILL)
    stage._process.join()
    assert phrases(call(stage, samples("a"))) == ["a"]
    stage.close()


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Store, ShardState, list[Node]]:
    """A shard of six scenes, and the detector's node."""
    run = parse(compose([f"work={tmp_path}", "source.count=6", "source.shard_size=6"]))
    shards = assign(Store(run.work), run.source, list_source(run.source))
    done = Ingest(run.work, run.source, shards)(SHARD, ShardState())
    return Store(run.work), done, graph.round_zero(run)[:1]


def rows_of(store: Store, node: Node) -> list[tuple[str, str | None]]:
    return [(row.key, row.failed) for row in read_rows(store, node, SHARD)]


def test_an_image_that_cannot_be_decoded_is_a_row_and_the_rest_of_its_shard_is_done(
    shard: tuple[Store, ShardState, list[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, done, nodes = shard
    images = read_images(store, SHARD)
    decode = pictures.decode_image

    def choking(data: bytes) -> np.ndarray:
        if len(data) == images[2].size:
            raise MemoryError
        return decode(data)

    monkeypatch.setattr(pictures, "decode_image", choking)
    Worker(store.url, nodes, [node.name for node in nodes])(SHARD, done)
    assert rows_of(store, nodes[0]) == [
        (i.key, "out_of_memory" if i is images[2] else None) for i in images
    ]


def test_a_store_that_fails_is_no_samples_fault(
    shard: tuple[Store, ShardState, list[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, done, nodes = shard
    worker = Worker(store.url, nodes, [node.name for node in nodes])

    def out_of_reach(self: Pictures, image: ImageRow) -> bytes:
        raise OSError("out of reach")

    monkeypatch.setattr(Pictures, "bytes_of", out_of_reach)
    with pytest.raises(OSError, match="out of reach"):
        worker(SHARD, done)


def test_only_a_batch_is_decoded_at_once_and_stages_of_a_group_share_it_within_bounds(
    shard: tuple[Store, ShardState, list[Node]],
) -> None:
    store, _, _ = shard
    images = read_images(store, SHARD)
    inputs = [StageInput(Sample(key=image.key, size=(1, 1)), image) for image in images]
    for keep, again in ((1 << 30, True), (0, False)):
        with Pictures(store, SHARD, 1, keep) as pictures:
            pictures.read(inputs[:2])
            first = pictures.with_pixels(inputs[:2])
            pictures.read(inputs[:2])
            assert (pictures.with_pixels(inputs[1:2])[0].image is first[1].image) == again
            assert len(pictures._decoded) == (2 if again else 0)


@pytest.mark.subprocess
def test_in_a_child_a_stage_sees_the_same(shard: tuple[Store, ShardState, list[Node]]) -> None:
    store, done, nodes = shard
    names = [node.name for node in nodes]
    here = Worker(store.url, nodes, names)(SHARD, done)
    store.remove(nodes[0].folder)
    for number in range(2):  # marks of attempts that died
        who = {**this_process(), "pid": 2**22 + number}
        store.publish_json(
            f"{ATTEMPTS}/{nodes[0].entry.name}-{nodes[0].fingerprint}/{SHARD}/{number}.json", who
        )
    worker = Worker(store.url, nodes, names)
    assert worker(SHARD, done) == here
    assert not worker._stages
