"""Faults that are no sample's end the run at the first shard; a sample's own fault stays a row."""

import errno
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.errors import DiskFull, RunFailed, SamplesFailAlike
from pipeline.execution import faults, pictures, publishing, steps
from pipeline.execution.calls import call
from pipeline.execution.faults import IN_A_ROW, WHOLE_SHARD, FailureWatch
from pipeline.execution.isolation import Isolated
from pipeline.execution.pictures import StageInput
from pipeline.execution.reading import read_rows
from pipeline.execution.steps import TRIES, ShardResult, Step, StepActor
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState, plan
from pipeline.schema import Annotations
from pipeline.storage.store import Store
from stages.base import Batch, Failed, Result, Sample, SampleError, StageError
from stages.embedded.detect import Contours

SHARD = "shard-000000"
SAMPLES = 10
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def inputs(count: int) -> list[StageInput]:
    return [StageInput(Sample(key=f"image_{i}", size=(4, 4)), None) for i in range(count)]


class Raiser:
    """A stage that always raises the same error; it counts how often it is called."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def __call__(self, batch: Sequence[Any]) -> list[Result]:
        self.calls += 1
        raise self.error


@pytest.mark.parametrize("error", [StageError("the key is wrong"), NO_SPACE])
def test_a_fault_of_no_sample_passes_through_and_the_batch_is_not_halved(error: Exception) -> None:
    stage = Raiser(error)
    with pytest.raises(type(error)) as raised:
        call(stage, inputs(8))
    assert raised.value is error
    assert stage.calls == 1


@pytest.mark.subprocess
@pytest.mark.parametrize("error", [StageError("the key is wrong"), NO_SPACE])
def test_it_passes_through_from_a_child_process_too(error: Exception) -> None:
    stage = Isolated(functools.partial(Raiser, error), threads=1)
    with pytest.raises(type(error)) as raised:
        call(stage, inputs(8))
    stage.close()
    assert str(raised.value) == str(error)


def alike(batch: Sequence[StageInput]) -> list[Result]:
    """Fails on every sample in the same way; only keys and numbers differ."""
    key = batch[0].sample.key
    number = int(key.removeprefix("image_"))
    raise RuntimeError(f"{key}: no kernel at {0x7F00 + number:#x} after {number / 7} s")


def test_many_failures_alike_in_a_row_end_the_run() -> None:
    watch = FailureWatch("detect")
    with pytest.raises(SamplesFailAlike) as raised:
        call(alike, inputs(4 * IN_A_ROW), watch)
    message = str(raised.value)
    assert message.startswith(f"stage detect: {IN_A_ROW} samples in a row failed alike: ")
    assert "RuntimeError: image_63: no kernel at 0x7f3f" in message
    assert message.endswith("; `fld run --keep-going` makes each a row")


def test_failures_are_counted_from_one_shard_to_the_next() -> None:
    watch = FailureWatch("detect")
    watch.begin_shard()
    assert len(call(alike, inputs(IN_A_ROW - 1), watch)) == IN_A_ROW - 1
    watch.begin_shard()
    with pytest.raises(SamplesFailAlike):
        call(alike, inputs(1), watch)


def odd(batch: Sequence[StageInput]) -> list[Result]:
    """Fails on every sample, each time in one of two ways."""
    number = int(batch[0].sample.key.removeprefix("image_"))
    if len(batch) > 1 or number % 2:
        raise RuntimeError("an odd number")
    raise KeyError("even")


def fails_but_on_the_last(batch: Sequence[StageInput]) -> list[Result]:
    if [item.sample.key for item in batch] != [f"image_{IN_A_ROW - 1}"]:
        raise RuntimeError("broken")
    return [Annotations()]


@pytest.mark.parametrize("stage", [odd, fails_but_on_the_last, Raiser(SampleError("too_small"))])
def test_failures_that_differ_or_are_expected_or_interrupted_are_rows(stage: Any) -> None:
    watch = FailureWatch("detect")
    watch.begin_shard()
    results = call(stage, inputs(IN_A_ROW), watch)
    watch.end_shard(IN_A_ROW)
    assert sum(isinstance(result, Failed) for result in results) >= IN_A_ROW - 1


@pytest.mark.parametrize(
    ("samples", "seen", "ends"),
    [
        (WHOLE_SHARD, WHOLE_SHARD, True),
        (WHOLE_SHARD - 1, WHOLE_SHARD - 1, False),
        (WHOLE_SHARD + 9, WHOLE_SHARD, False),
    ],
)
def test_a_whole_shard_that_fails_alike_ends_the_run_if_it_is_not_tiny(
    samples: int, seen: int, ends: bool
) -> None:
    watch = FailureWatch("detect")
    watch.begin_shard()
    assert len(call(alike, inputs(seen), watch)) == seen
    if not ends:
        watch.end_shard(samples)
        return
    with pytest.raises(SamplesFailAlike, match=f"all {samples} samples of a shard failed alike"):
        watch.end_shard(samples)


class Prepared:
    """A shard of scenes that is brought in, and the node of its detector."""

    def __init__(self, work: Path, *overrides: str) -> None:
        run = parse(compose([f"work={work}", f"source.count={SAMPLES}", *overrides]))
        shards = assign(Store(run.work), run.source, list_source(run.source))
        self.store = Store(run.work)
        self.state = Ingest(run.work, run.source, shards)(SHARD, ShardState())
        self.node: Node = graph.round_zero(run)[0]

    def annotate(self, keep_going: bool = False) -> list[str | None]:
        """Run the detector; the reasons of all samples."""
        worker = Worker(
            self.store.url, [self.node], [self.node.name], threads=1, keep_going=keep_going
        )
        worker(SHARD, self.state)
        return [row.failed for row in read_rows(self.store, self.node, SHARD)]

    @property
    def published(self) -> bool:
        return self.store.exists(self.node.folder)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return Prepared(tmp_path)


def test_a_stage_that_fails_on_a_whole_shard_ends_the_run_unless_told_to_keep_going(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Contours, batch: Batch) -> list[Result]:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(Contours, "__call__", broken)
    with pytest.raises(SamplesFailAlike, match="stage detect: all 10 samples of a shard failed"):
        prepared.annotate()
    assert not prepared.published
    assert prepared.annotate(keep_going=True) == ["error"] * SAMPLES


def test_images_that_cannot_be_decoded_stay_rows(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes) -> np.ndarray:
        raise ValueError("broken image")

    monkeypatch.setattr(pictures, "decode_image", broken)
    assert prepared.annotate() == ["error"] * SAMPLES


def test_samples_that_are_done_again_stay_rows_because_they_may_have_failed_before(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepared.annotate() == [None] * SAMPLES
    keys = [row.key for row in read_rows(prepared.store, prepared.node, SHARD)]
    prepared.store.withdraw(prepared.node.folder, {SHARD: keys[1:]})

    def broken(self: Contours, batch: Batch) -> list[Result]:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(Contours, "__call__", broken)
    state = plan(prepared.store, [prepared.node], {SHARD: prepared.state}).states[SHARD]
    assert not state.has(prepared.node.name)
    assert prepared.annotate() == [None, *["error"] * (SAMPLES - 1)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("weights"), "stage detect: it does not load with use=contours: KeyError: 'wei"),
        (ValueError("min_side=-1: give a size"), "stage detect: min_side=-1: give a size"),
        (StageError("no GPU; set device"), "stage detect: no GPU; set device"),
        (MemoryError("no room"), "stage detect: it does not load with use=contours: MemoryError"),
    ],
)
def test_a_stage_that_does_not_load_ends_the_run_with_its_name(
    error: Exception, message: str, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unloadable(self: Contours, config: Any) -> None:
        raise error

    monkeypatch.setattr(Contours, "__init__", unloadable)
    with pytest.raises(StageError) as raised:
        prepared.annotate()
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_full_disk_is_named(
    is_named: bool, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        if is_named:
            raise OSError(errno.ENOSPC, "No space left on device", "/data/table")
        raise NO_SPACE

    monkeypatch.setattr(publishing, "publish_table", full)
    where = "/data/table" if is_named else prepared.store.url
    with pytest.raises(DiskFull, match=f"^{where}: No space left on device; make room there"):
        prepared.annotate()


def actor_of(work: Any, monkeypatch: pytest.MonkeyPatch) -> StepActor:
    monkeypatch.setattr(steps, "bound_threads", lambda threads: None)
    return StepActor(Step("a", lambda: work, ("a",)), threads=1)


def result_of(actor: StepActor, shard: str) -> ShardResult:
    """What an actor makes of a shard, sent to it and back as Ray does it."""
    row = ShardResult(shard, ShardState()).row()
    columns = actor({name: [value] for name, value in row.items()})
    return ShardResult.of_row({name: values[0] for name, values in columns.items()})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StageError("a wrong key"), ValueError),
        (DiskFull("/data: full"), RunFailed),
        (SamplesFailAlike("64 samples"), RunFailed),
    ],
)
def test_an_actor_meets_a_fault_once_and_then_touches_no_other_shard(
    error: Exception, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = []

    def work(shard: str, state: ShardState) -> ShardState:
        touched.append(shard)
        raise error

    actor = actor_of(work, monkeypatch)
    first, second = result_of(actor, "s0"), result_of(actor, "s1")
    assert touched == ["s0"]
    assert first.failed and second.fault == first.fault
    raised = first.fault.error()
    assert type(raised) is expected and str(raised) == str(error)


def test_another_error_is_tried_again_and_other_shards_are_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    touched = []

    def work(shard: str, state: ShardState) -> ShardState:
        touched.append(shard)
        if shard == "bad":
            raise OSError("out of reach")
        return state

    monkeypatch.setattr(steps.time, "sleep", lambda seconds: None)
    actor = actor_of(work, monkeypatch)
    bad, good = result_of(actor, "bad"), result_of(actor, "good")
    assert touched == ["bad"] * TRIES + ["good"]
    assert bad.error == "OSError: out of reach" and bad.fault == faults.NO_FAULT
    assert not good.failed
