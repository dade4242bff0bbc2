import functools
import os
import signal
from collections.abc import Sequence

import pytest

from pipeline.isolate import Isolated
from pipeline.schema import Annotations, Region
from pipeline.worker import call
from stages.base import Batch, Failed, Result, Sample, SampleError

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


def test_in_a_child_process_the_sample_that_kills_is_found_and_the_rest_is_done() -> None:
    stage = Isolated(functools.partial(Killer), threads=1)
    results = call(stage, samples("a", "b", "deadly", "c"))
    stage.close()
    assert phrases(results) == ["a", "b", "crashed", "c"]
    assert results[2] == Failed("crashed", "StageDied: the process ended with signal 11")


class Raiser:
    def __call__(self, batch: Batch) -> list[Result]:
        raise SampleError("odd", "inside the child")


def test_an_ordinary_error_of_a_child_keeps_its_reason() -> None:
    stage = Isolated(functools.partial(Raiser), threads=1)
    assert call(stage, samples("a")) == [Failed("odd", "inside the child")]
    stage.close()


def unloadable() -> Raiser:
    raise OSError("weights unreadable")


def test_a_model_that_cannot_be_loaded_is_no_samples_fault() -> None:
    with pytest.raises(OSError, match="weights unreadable"):
        Isolated(unloadable, threads=1)
