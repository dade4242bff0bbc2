"""`fld study`: trainings under a few settings, each tested on the same unseen samples; a table.

Trainings and tests that are done are kept in the study's folder by their recipes, so the same command resumes and
another row costs only itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.run import ClusterConfig
from pipeline.execution.engine import check_resources, connect
from pipeline.execution.threads import bound_threads
from pipeline.plan.graph import WORK
from pipeline.plan.recipe import content_hash, fingerprint, recipe_settings
from pipeline.storage.images import decode_image
from pipeline.storage.lease import held
from pipeline.storage.store import Store
from pipeline.studies.config import StudyConfig, phase_config
from pipeline.studies.data import first, obtain
from pipeline.studies.scores import score
from pipeline.training.data import Shards, TrainingSet
from pipeline.training.run import GROUP, Training, train
from stages import registry
from stages.base import Sample
from stages.florence.config import VERSION
from stages.florence.model import resolve

BATCH = 32


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint (`work:` and a folder of the study, or what it started from) and the digest of its content."""

    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class Study:
    """A study at work: its folder, and its data with the digests of their labels."""

    config: StudyConfig
    store: Store
    data: TrainingSet
    labels: str
    test: TrainingSet
    test_labels: str


def run(config: StudyConfig) -> dict[str, Any]:
    """Everything that is to do; returns the rows of the table."""
    store = Store(config.work)
    store.check_usable()
    with held(store):
        study = Study(config, store, *obtain(store, config.data), *obtain(store, config.test))
        rows = [line for name in config.rows for line in _row(study, name)]
    return {
        "study": config.study,
        "title": config.title,
        "work": store.url,
        "train_samples": len(study.data),
        "test_samples": len(study.test),
        "rows": rows,
    }


def _row(study: Study, name: str) -> Iterator[dict[str, Any]]:
    row = study.config.rows[name]
    data = first(study.data, row.samples)
    start = row.start or study.config.start
    model = Model(start, content_hash(resolve(start)))
    if study.config.learner == "detector":
        for phase in row.phases:
            yield {"row": name, "phase": phase, **_detector(study, name, phase, data, model)}
        return
    if not row.phases:
        yield {
            "row": name,
            "phase": "as it is",
            "model": model.name,
            "steps": 0,
            "scores": _tested(study, model),
        }
    for phase in row.phases:
        model, settings, seconds = _trained(study, name, phase, data, model)
        yield {
            "row": name,
            "phase": phase,
            "model": model.name,
            "steps": settings.steps,
            "seconds": seconds,
            "samples": len(data),
            "scores": _tested(study, model),
        }


def _trained(
    study: Study, row: str, phase: str, data: TrainingSet, start: Model
) -> tuple[Model, Any, float | None]:
    """The model of a phase, its settings, and the seconds that its training took (None: it was stopped in between)."""
    settings = phase_config(study.config, row, phase)
    recipe = {
        "version": VERSION,
        "train": recipe_settings(settings),
        "start": start.revision,
        "labels": study.labels,
        "samples": len(data),
        "threads": study.config.cluster.group(GROUP).threads,
    }
    folder = f"models/{fingerprint(recipe)}"
    clock = f"journal/seconds/{folder}.json"
    resumed = bool(study.store.list(f"journal/train/{folder}"))
    todo, started = not study.store.done(folder), time.time()
    training = Training(settings, start.name, 0, data, study.labels, folder)
    revision = train(study.store, study.config.cluster, training, f"{row}, {phase}: train")
    if todo and not resumed:
        study.store.publish_json(clock, round(time.time() - started, 1))
    seconds = study.store.read_json(clock) if study.store.exists(clock) else None
    return Model(f"{WORK}{folder}", revision), settings, seconds


def _tested(study: Study, model: Model) -> dict[str, float]:
    """The scores of a model on the test samples."""
    config = study.config
    options = {
        "tasks": config.tasks,
        "texts": config.texts,
        "resolution": config.resolution,
        "max_tokens": config.max_tokens,
        "beams": config.beams,
    }
    version = registry.resolve(registry.EXAMINE).version
    recipe = {**options, "version": version, "model": model.revision, "labels": study.test_labels}
    name = f"scores/{fingerprint(recipe)}.json"
    if not study.store.exists(name):
        shards = [(shard, keys) for shard, keys in sorted(study.test.keys.items())]
        jobs = [
            (_examined, (study.store.url, model.name, options, _place(study.test), *shard))
            for shard in shards
        ]
        answers = [entry for entries in _remote(config.cluster, jobs, "test") for entry in entries]
        study.store.publish_json(name, {"scores": score(answers), "answers": answers})
    scores: dict[str, float] = study.store.read_json(name)["scores"]
    return scores


def _detector(
    study: Study, row: str, phase: str, data: TrainingSet, model: Model
) -> dict[str, Any]:
    """The scores of a detector trained on the model's vision tower."""
    settings = phase_config(study.config, row, phase)
    recipe = {
        "version": registry.resolve(registry.DETECTOR).version,
        "detector": recipe_settings(settings),
        "model": model.revision,
        "labels": [study.labels, study.test_labels],
        "samples": len(data),
        "threads": study.config.cluster.group(GROUP).threads,
    }
    name = f"scores/{fingerprint(recipe)}.json"
    if not study.store.exists(name):
        job = (study.store.url, model.name, settings, _place(data), _place(study.test))
        (answers,) = _remote(study.config.cluster, [(_detected, job)], f"{row}, {phase}: detector")
        study.store.publish_json(name, {"scores": score(answers), "answers": answers})
    scores = study.store.read_json(name)["scores"]
    return {"model": model.name, "steps": settings.steps, "samples": len(data), "scores": scores}


Place = tuple[str, Shards, Mapping[str, Sequence[str]]]


def _place(data: TrainingSet) -> Place:
    return data.store.url, data.node, dict(data.keys)


def _set(place: Place) -> TrainingSet:
    return TrainingSet(Store(place[0]), *place[1:])


def _remote(
    cluster: ClusterConfig, jobs: Sequence[tuple[Any, tuple[Any, ...]]], title: str
) -> list[Any]:
    """The results of functions of these arguments, run beside each other in the resources of a training worker."""
    import ray
    from tqdm import tqdm

    connect(cluster)
    check_resources(cluster, GROUP)
    group = cluster.group(GROUP)
    task = ray.remote(num_cpus=group.cpus, num_gpus=group.gpus)(_job)
    waiting = [task.remote(function, arguments, group.threads) for function, arguments in jobs]
    return [ray.get(one) for one in tqdm(waiting, desc=title, dynamic_ncols=True)]


def _job(function: Any, arguments: tuple[Any, ...], threads: int) -> Any:
    bound_threads(threads)
    return function(*arguments)


def _examined(
    url: str, model: str, options: dict[str, Any], place: Place, shard: str, keys: Sequence[str]
) -> Any:
    cls = registry.resolve(registry.EXAMINE)
    examine = cls(registry.config_of(cls)(model=_local(url, model), **options))
    samples = _samples(_set(place), shard, keys)
    return [
        entry
        for i in range(0, len(samples), BATCH)
        for each in examine(samples[i : i + BATCH])
        for entry in each
    ]


def _detected(url: str, model: str, settings: Any, train_place: Place, test_place: Place) -> Any:
    data, test = _set(train_place), _set(test_place)
    shown = (data.read(shard, key)[1] for shard, keys in data.keys.items() for key in keys)
    categories = sorted(
        {region.phrase for record in shown for region in record.annotations.regions}
    )
    detector = registry.resolve(registry.DETECTOR)(settings, _local(url, model), categories)
    detector.learn(data.batches(0, settings.batch_size, settings.seed, 0, 1))
    samples = [
        sample
        for shard, keys in sorted(test.keys.items())
        for sample in _samples(test, shard, keys)
    ]
    return [
        entry for i in range(0, len(samples), BATCH) for entry in detector(samples[i : i + BATCH])
    ]


def _samples(data: TrainingSet, shard: str, keys: Sequence[str]) -> list[Sample]:
    read = [data.read(shard, key) for key in keys]
    return [
        Sample(
            key=r.key,
            size=(r.width, r.height),
            annotations=r.annotations,
            image=decode_image(image),
        )
        for image, r in read
    ]


def _local(url: str, model: str) -> str:
    if model.startswith(WORK):
        return Store(url).local_copy(model.removeprefix(WORK))
    return model
