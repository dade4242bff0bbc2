"""The work of a study that runs in Ray's workers: asking a model about samples, and detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar, TypeVarTuple, cast

from pipeline.config.run import ClusterConfig
from pipeline.errors import WorkerFailed, last_line
from pipeline.execution.cluster import check_resources, connect
from pipeline.execution.progress import progress
from pipeline.execution.threads import bound_threads
from pipeline.plan.graph import WORK
from pipeline.storage.store import Store
from pipeline.studies.config import DetectorSettings
from pipeline.studies.scores import Answer
from pipeline.training.data import TrainingSet, TrainingSetRef
from pipeline.training.run import GROUP
from stages import registry
from stages.base import Sample

BATCH = 32
"""Samples that a model answers about at once."""
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def run_remote(
    cluster: ClusterConfig,
    function: Callable[[*Arguments], Result],
    calls: Sequence[tuple[*Arguments]],
    title: str,
) -> list[Result]:
    """Call `function` with each tuple of arguments in Ray workers; return the results in order.

    A worker has the resources and threads of a training worker.

    Raises:
        ValueError: the cluster has not the resources of one worker.
        WorkerFailed: a call raised an error, or its process died.
    """
    import ray
    from ray.exceptions import RayError

    connect(cluster)
    check_resources(cluster, GROUP)
    group = cluster.group(GROUP)
    task = ray.remote(num_cpus=group.cpus, num_gpus=group.gpus)(_call)
    waiting = [task.remote(function, arguments, group.threads) for arguments in calls]
    results = []
    try:
        with progress(title, "call", len(waiting)) as bar:
            for result in waiting:
                results.append(ray.get(result))
                bar.update()
    except RayError as error:
        for result in waiting:
            ray.cancel(result)
        raise WorkerFailed(f"{title}: {last_line(error)}") from error
    return cast(list[Result], results)


def _call(
    function: Callable[..., object],
    arguments: tuple[object, ...],
    threads: int,
) -> object:
    """Run in a worker: bound its threads, then call the function."""
    bound_threads(threads)
    return function(*arguments)


def examine(
    url: str,
    model: str,
    options: Mapping[str, object],
    test: TrainingSetRef,
    shard: str,
    keys: Sequence[str],
) -> list[Answer]:
    """Ask a model about samples of one shard.

    `url` is the study's folder and `options` are the settings of the stage `Examine`. `test` holds
    the shard and `keys` names the samples.
    """
    examine_class = registry.resolve(registry.EXAMINE)
    config = registry.config_of(examine_class)(model=_local(url, model), **options)
    stage = examine_class(config)
    samples = test.open().samples(shard, keys)
    answers: list[Answer] = []
    for batch in _batches(samples):
        for sample_answers in stage(batch):
            answers += sample_answers
    return answers


def detect(
    url: str,
    model: str,
    config: DetectorSettings,
    data_ref: TrainingSetRef,
    test_ref: TrainingSetRef,
) -> list[Answer]:
    """Train a detector on a model's vision tower and ask it about the test samples.

    `url` is the study's folder and `config` are the settings of the detector. It learns the
    categories that occur in its training samples.
    """
    data = data_ref.open()
    test = test_ref.open()
    detector_class = registry.resolve(registry.DETECTOR)
    checkpoint = _local(url, model)
    detector = detector_class(config, checkpoint, _categories(data))
    batches = data.batches(0, config.batch_size, config.seed, 0, 1)
    detector.learn(batches)
    samples: list[Sample] = []
    for shard in sorted(test.counts):
        samples += test.samples(shard, test.keys(shard))
    answers: list[Answer] = []
    for batch in _batches(samples):
        answers += detector(batch)
    return answers


def _categories(data: TrainingSet) -> list[str]:
    """Return the phrases of all regions of a set, sorted."""
    phrases: set[str] = set()
    for shard in data.counts:
        for key in data.keys(shard):
            labels = data.read(shard, key).record.annotations
            for region in labels.regions:
                phrases.add(region.phrase)
    return sorted(phrases)


def _batches(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    """Yield the samples in groups of `BATCH`; the last one may be smaller."""
    for start in range(0, len(samples), BATCH):
        yield samples[start : start + BATCH]


def _local(url: str, model: str) -> str:
    """Return a checkpoint's name or folder on this machine; `work:` names one of the store."""
    if model.startswith(WORK):
        return Store(url).local_copy(model.removeprefix(WORK))
    return model
