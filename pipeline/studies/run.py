"""`fld study`: train under different settings and test each model on the same unseen samples.

Finished trainings and tests are kept in the study's folder, named by their recipes. So the same
command resumes, and a new row costs only itself. A row that fails does not stop the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.errors import WorkerFailed
from pipeline.plan.graph import WORK
from pipeline.plan.recipe import content_hash, fingerprint, recipe_settings
from pipeline.storage import layout_journal, layout_training
from pipeline.storage.lease import held
from pipeline.storage.store import Store
from pipeline.studies.config import StudyConfig, detector_config, phase_config
from pipeline.studies.data import first, obtain
from pipeline.studies.remote import detect, examine, run_remote
from pipeline.studies.scores import Answer, score
from pipeline.studies.table import FailedRow, Line, StudyResult
from pipeline.training.data import TrainingSet
from pipeline.training.run import GROUP, Training, train
from stages import registry
from stages.florence.config import VERSION, TrainConfig
from stages.florence.model import resolve


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that a phase starts from or ends with."""

    name: str
    """A name or a folder, or `work:` and a folder of the study."""
    revision: str
    """Digest of its content."""


@dataclass(frozen=True, slots=True)
class Study:
    """A study at work."""

    config: StudyConfig
    store: Store
    """The study's folder."""
    data: TrainingSet
    """The samples to train on."""
    labels: str
    """Digest of their labels."""
    test: TrainingSet
    """The samples that every model is tested on."""
    test_labels: str
    """Digest of their labels."""


def run(config: StudyConfig) -> StudyResult:
    """Train and test everything that is not done yet.

    Returns the rows of the table, and under `failed` the rows that could not be finished, each
    with its error in one line.
    """
    store = Store(config.work)
    store.check_usable()
    rows: list[Line] = []
    failed: list[FailedRow] = []
    with held(store):
        data, labels = obtain(store, config.data)
        test, test_labels = obtain(store, config.test)
        study = Study(config, store, data, labels, test, test_labels)
        for name in config.rows:
            try:
                for line in _run_row(study, name):
                    rows.append(line)
            except WorkerFailed as error:
                failed.append({"row": name, "error": str(error)})
    return {
        "study": config.study,
        "title": config.title,
        "work": store.url,
        "train_samples": len(study.data),
        "test_samples": len(study.test),
        "rows": rows,
        "failed": failed,
    }


def _run_row(study: Study, name: str) -> Iterator[Line]:
    """Yield a line of the table for each phase of a row, as soon as it is finished."""
    row = study.config.rows[name]
    data = first(study.data, row.samples)
    start = row.start or study.config.start
    model = Checkpoint(start, content_hash(resolve(start)))
    if study.config.learner == "detector":
        for phase in row.phases:
            yield _detector_line(study, name, phase, data, model)
        return
    if not row.phases:
        yield {
            "row": name,
            "phase": "as it is",
            "model": model.name,
            "steps": 0,
            "scores": _test(study, model, f"{name}: test"),
        }
    for phase in row.phases:
        config = phase_config(study.config, name, phase)
        title = f"{name}, {phase}"
        model, seconds = _train(study, config, data, model, title)
        yield {
            "row": name,
            "phase": phase,
            "model": model.name,
            "steps": config.steps,
            "seconds": seconds,
            "samples": len(data),
            "scores": _test(study, model, f"{title}: test"),
        }


def _train(
    study: Study, config: TrainConfig, data: TrainingSet, start: Checkpoint, title: str
) -> tuple[Checkpoint, float | None]:
    """Return the model of a phase and the seconds of its training.

    The seconds are None when the training was interrupted: they would not count all of it.
    """
    recipe = {
        "version": VERSION,
        "train": recipe_settings(config),
        "start": start.revision,
        "labels": study.labels,
        "samples": len(data),
        "threads": study.config.cluster.group(GROUP).threads,
    }
    folder = layout_training.study_model(fingerprint(recipe))
    clock = layout_journal.study_seconds(folder)
    resumed = bool(study.store.list(layout_journal.checkpoints(folder)))
    finished = bool(study.store.done(folder))
    started = time.time()
    training = Training(config, start.name, 0, data, study.labels, folder)
    revision = train(study.store, study.config.cluster, training, f"{title}: train")
    if not finished and not resumed:
        study.store.publish_json(clock, round(time.time() - started, 1))
    seconds: float | None = None
    if study.store.exists(clock):
        seconds = float(study.store.read(clock))
    return Checkpoint(f"{WORK}{folder}", revision), seconds


def _test(study: Study, model: Checkpoint, title: str) -> dict[str, float]:
    """Return the scores of a model on the test samples."""
    config = study.config
    options: dict[str, object] = {
        "tasks": config.tasks,
        "texts": config.texts,
        "resolution": config.resolution,
        "max_tokens": config.max_tokens,
        "beams": config.beams,
    }
    version = registry.resolve(registry.EXAMINE).version
    recipe = {
        **options,
        "version": version,
        "model": model.revision,
        "labels": study.test_labels,
    }
    name = layout_training.study_scores(fingerprint(recipe))
    if not study.store.exists(name):
        calls = []
        for shard in sorted(study.test.counts):
            keys = study.test.keys(shard)
            call = (study.store.url, model.name, options, study.test.ref(), shard, keys)
            calls.append(call)
        answers: list[Answer] = []
        for shard_answers in run_remote(config.cluster, examine, calls, title):
            answers += shard_answers
        _publish_scores(study.store, name, answers)
    scores: dict[str, float] = study.store.read_json(name)["scores"]
    return scores


def _publish_scores(
    store: Store, name: str, answers: list[Answer], seconds: float | None = None
) -> None:
    """Keep the scores of a model together with its answers and the seconds of its training."""
    store.publish_json(name, {"scores": score(answers), "seconds": seconds, "answers": answers})


def _detector_line(
    study: Study, row: str, phase: str, data: TrainingSet, model: Checkpoint
) -> Line:
    """Train a detector on the model's vision tower and test it; return its line."""
    config = detector_config(study.config, row, phase)
    recipe = {
        "version": registry.resolve(registry.DETECTOR).version,
        "detector": recipe_settings(config),
        "model": model.revision,
        "labels": [study.labels, study.test_labels],
        "samples": len(data),
        "threads": study.config.cluster.group(GROUP).threads,
    }
    name = layout_training.study_scores(fingerprint(recipe))
    if not study.store.exists(name):
        started = time.time()
        call = (study.store.url, model.name, config, data.ref(), study.test.ref())
        title = f"{row}, {phase}: detector"
        (answers,) = run_remote(study.config.cluster, detect, [call], title)
        _publish_scores(study.store, name, answers, seconds=round(time.time() - started, 1))
    result = study.store.read_json(name)
    return {
        "row": row,
        "phase": phase,
        "model": model.name,
        "steps": config.steps,
        "seconds": result.get("seconds"),
        "samples": len(data),
        "scores": result["scores"],
    }
