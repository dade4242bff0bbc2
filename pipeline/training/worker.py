"""What a worker does in a training run: its share of each batch, the checkpoints, the model.

A killed run continues from its newest checkpoint. Nothing here knows Ray.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.execution.threads import bound_threads
from pipeline.plan.graph import WORK
from pipeline.storage import layout, layout_journal
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSetRef
from pipeline.training.progress import reporter
from stages.florence.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """A training run as it is sent to its workers."""

    url: str
    """The work folder."""
    threads: int
    """Threads of one worker."""
    config: TrainConfig
    """The schedule and everything else that `train` sets."""
    start: str
    """The checkpoint that it starts from; see `Training` in `run.py`."""
    data: TrainingSetRef
    """The samples to train on."""
    folder: str
    """Folder of the work folder that will hold the model."""


def run_worker(job: TrainJob, rank: int, world_size: int) -> None:
    """Train as worker `rank` of `world_size`; the worker of rank 0 also stores the model."""
    from stages.florence import training

    store = Store(job.url)
    config = job.config
    start = job.start
    if start.startswith(WORK):
        start = store.local_copy(start.removeprefix(WORK))
    bound_threads(job.threads)
    data = job.data.open()
    checkpoints = layout_journal.checkpoints(job.folder)
    with tempfile.TemporaryDirectory(prefix="fld-model-") as local:
        hooks = training.Hooks()
        if rank == 0:
            hooks = training.Hooks(
                save=lambda folder, step: _save(store, checkpoints, folder, step),
                progress=reporter(store, config),
            )
        newest = _newest(store, checkpoints)
        training.train(
            config,
            start if newest is None else training.Checkpoint(newest),
            lambda step: data.batches(step, config.batch_size, config.seed, rank, world_size),
            Path(local),
            distributed=training.Distributed(rank, world_size),
            hooks=hooks,
        )
        if rank == 0:
            _upload(store, Path(local), job.folder)


def _save(store: Store, checkpoints: str, folder: Path, step: int) -> None:
    """Upload a checkpoint, then write its mark, and only then remove the older checkpoints."""
    newest = layout_journal.checkpoint_name(step)
    _upload(store, folder, layout.within(checkpoints, newest))
    mark = layout_journal.checkpoint_mark(newest)
    store.publish_json(layout.within(checkpoints, mark), {})
    for name in store.list(checkpoints):
        if name.split(".")[0] < newest:
            store.remove(layout.within(checkpoints, name))


def _newest(store: Store, checkpoints: str) -> Path | None:
    """Return a local copy of the newest checkpoint that has its mark, or None."""
    marked = [layout_journal.marked_checkpoint(name) for name in store.list(checkpoints)]
    complete = [checkpoint for checkpoint in marked if checkpoint is not None]
    if not complete:
        return None
    newest = layout.within(checkpoints, complete[-1])
    return Path(store.local_copy(newest))


def _upload(store: Store, folder: Path, name: str) -> None:
    """Copy all files of a local folder to folder `name` of the store."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        relative = path.relative_to(folder).as_posix()
        target = layout.within(name, relative)
        with store.publishing(target) as sink, path.open("rb") as source:
            shutil.copyfileobj(source, sink, 1 << 20)
