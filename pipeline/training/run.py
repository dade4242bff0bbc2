"""One training run under Ray Train, on the kept labels of a round or of a folder of round shards.

A killed run continues from its newest checkpoint. The name of the model's folder is a digest of
everything that decides its content.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.run import ClusterConfig, GroupConfig, RunConfig
from pipeline.errors import WorkerFailed, last_line
from pipeline.execution.activity import add_time
from pipeline.execution.cluster import check_resources, connect
from pipeline.execution.progress import progress
from pipeline.execution.threads import bound_threads
from pipeline.plan.graph import WORK, TrainedModel
from pipeline.plan.recipe import content_hash, fingerprint, recipe_settings
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import FileDigest, Manifest
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSet, TrainingSetRef
from stages.florence.config import VERSION, TrainConfig
from stages.florence.model import resolve

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

# The group of `cluster.groups` whose resources the training workers use.
GROUP = "train"
# The metrics of a step that become curves in TensorBoard.
CURVES = ("loss", "rate", "gradient_norm", "tokens")
# Seconds between two reports of progress.
REPORT_SECONDS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Training:
    """One training run."""

    config: TrainConfig
    """The schedule and everything else that `train` sets."""
    start: str
    """Checkpoint to start from: a name or a folder, or `work:` and the folder of a model in the
    work folder."""
    number: int
    """Number of the round whose model this is."""
    data: TrainingSet
    """The samples to train on."""
    inputs: str
    """Digest of the labels of these samples."""
    folder: str
    """Folder of the work folder that will hold the model."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """A training run as it is sent to the workers of Ray Train."""

    url: str
    """The work folder."""
    threads: int
    """Threads of one worker."""
    config: TrainConfig
    """The schedule and everything else that `train` sets."""
    start: str
    """The checkpoint that it starts from; see `Training`."""
    data: TrainingSetRef
    """The samples to train on."""
    folder: str
    """Folder of the work folder that will hold the model."""


def prepare(
    run: RunConfig,
    number: int,
    data: TrainingSet,
    inputs: str,
    start: TrainedModel | str = "",
    config: TrainConfig | None = None,
) -> Training:
    """Describe the training run of a round; its folder is named by everything that decides it.

    Without `start` it starts from `refine.start`, and without `config` it has the settings of
    `train`.
    """
    config = dataclasses.replace(
        config or run.train,
        seed=run.seed * 1000 + number,
        human_weight=run.refine.human_weight,
    )
    name, content = _start(start or run.refine.start)
    recipe = {
        "version": VERSION,
        "train": recipe_settings(config),
        "start": content,
        "threads": run.cluster.group(GROUP).threads,
        "round": data.node.fingerprint,
        "inputs": inputs,
    }
    return Training(
        config, name, number, data, inputs, layout.model_folder(number, fingerprint(recipe))
    )


def _start(start: TrainedModel | str) -> tuple[str, str]:
    """Return where the checkpoint is loaded from, and the digest of its content."""
    if isinstance(start, TrainedModel):
        return f"{WORK}{start.folder}", start.revision
    return start, content_hash(resolve(start))


def model_digest(store: Store, training: Training) -> str | None:
    """Return the digest of the trained model's files, or None if it is not trained yet."""
    found = store.done(training.folder).get(layout.MODEL_SHARD)
    return found.output if found else None


def train(store: Store, cluster: ClusterConfig, training: Training, title: str = "") -> str:
    """Train and publish the model if that is not done yet; return the digest of its files.

    Raises:
        ValueError: the cluster has no room for the fewest workers.
        WorkerFailed: a worker failed more often than it is restarted.
    """
    finished = model_digest(store, training)
    if finished:
        return finished
    import ray

    connect(cluster)
    check_resources(cluster, GROUP)
    workers = _workers(cluster.group(GROUP), ray.cluster_resources())
    title = title or f"round {training.number}: train"
    goes_on = bool(store.list(layout.checkpoints(training.folder)))
    begun = time.monotonic()
    _run_workers(store, cluster.group(GROUP), workers, training, title)
    if not goes_on:
        images = training.config.steps * training.config.batch_size
        add_time(store, GROUP, images, (time.monotonic() - begun) * workers)
    return publish_model(store, training)


def publish_model(store: Store, training: Training) -> str:
    """Publish the manifest of a model whose files are all there; return the digest of the files."""
    folder = training.folder
    files = {}
    for name in store.list(folder):
        # A model that was withdrawn has left its folder of manifests.
        if name != layout.MANIFESTS:
            path = layout.within(folder, name)
            files[path] = _file_digest(store, path)
    samples = len(training.data)
    manifest = Manifest(
        shard=layout.MODEL_SHARD,
        inputs=training.inputs,
        files=files,
        samples={"in": samples, "kept": samples, "dropped": {}, "failed": {}},
    )
    store.publish_manifest(folder, manifest)
    store.remove(layout.checkpoints(folder))
    return manifest.output


def _workers(group: GroupConfig, have: Mapping[str, float]) -> int:
    """Return how many workers train: as many as there is room for, within the group's range.

    Raises:
        ValueError: there is no room for the fewest.
    """
    fewest, most = group.actors or (1, 1)
    amounts = _resources(group)
    room = min(int(have.get(kind, 0) / amount) for kind, amount in amounts.items())
    if room < fewest:
        wanted = " and ".join(f"{amount * fewest:g} {kind}" for kind, amount in amounts.items())
        raise ValueError(
            f"cluster.groups.{GROUP}.actors: {fewest} workers want {wanted}, "
            f"the cluster has room for {room}; lower actors, cpus or gpus"
        )
    return min(room, most)


def _resources(group: GroupConfig) -> dict[str, float]:
    """Return what Ray reserves for one worker, by the name of the resource."""
    amounts = {}
    if group.cpus:
        amounts["CPU"] = group.cpus
    if group.gpus:
        amounts["GPU"] = group.gpus
    return amounts


def _run_workers(
    store: Store, group: GroupConfig, workers: int, training: Training, title: str
) -> None:
    """Run the training in Ray Train's workers and show its progress.

    Raises:
        WorkerFailed: a worker failed more often than it is restarted.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    job = TrainJob(
        url=store.url,
        threads=group.threads,
        config=training.config,
        start=training.start,
        data=training.data.ref(),
        folder=training.folder,
    )
    scaling = ScalingConfig(
        num_workers=workers, use_gpu=bool(group.gpus), resources_per_worker=_resources(group)
    )
    with (
        tempfile.TemporaryDirectory(prefix="fld-ray-train-") as scratch,
        _bar(store, title, training.config.steps),
    ):
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"job": job},
            torch_config=TorchConfig(backend="nccl" if group.gpus else "gloo"),
            scaling_config=scaling,
            run_config=RunConfig(
                storage_path=scratch, name="train", failure_config=FailureConfig(max_failures=3)
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise WorkerFailed(f"{title}: {last_line(error)}") from error


def _worker(loop_config: Json) -> None:
    """Run one worker of Ray Train; this is the only place where training code meets Ray."""
    import ray.train

    from stages.florence import training

    job: TrainJob = loop_config["job"]
    store = Store(job.url)
    config = job.config
    start = job.start
    if start.startswith(WORK):
        start = store.local_copy(start.removeprefix(WORK))
    bound_threads(job.threads)
    context = ray.train.get_context()
    rank = context.get_world_rank()
    world_size = context.get_world_size()
    data = job.data.open()
    checkpoints = layout.checkpoints(job.folder)
    with tempfile.TemporaryDirectory(prefix="fld-model-") as local:
        hooks = training.Hooks()
        if rank == 0:
            hooks = training.Hooks(
                save=lambda folder, step: _save(store, checkpoints, folder, step),
                progress=_reporter(store, config),
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
    newest = layout.checkpoint_name(step)
    _upload(store, folder, layout.within(checkpoints, newest))
    mark = layout.checkpoint_mark(newest)
    store.publish_json(layout.within(checkpoints, mark), {})
    for name in store.list(checkpoints):
        if name.split(".")[0] < newest:
            store.remove(layout.within(checkpoints, name))


def _newest(store: Store, checkpoints: str) -> Path | None:
    """Return a local copy of the newest checkpoint that has its mark, or None."""
    marked = [layout.marked_checkpoint(name) for name in store.list(checkpoints)]
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


def _file_digest(store: Store, name: str) -> FileDigest:
    """Describe a file as a manifest does: by its digest and its size in bytes."""
    with store.open(name) as file:
        size = file.seek(0, 2)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")
    return FileDigest(digest.hexdigest(), size)


def _reporter(store: Store, config: TrainConfig) -> Callable[[Json], None]:
    """Make the function that reports the metrics of each step.

    Every step goes to TensorBoard if `config.tensorboard` is set. The journal gets the last step,
    and before it one step every few seconds.
    """
    started = time.time()
    written = 0.0
    board: SummaryWriter | None = None
    if config.tensorboard:
        from tensorboardX import SummaryWriter  # comes with ray[train]

        board = SummaryWriter(config.tensorboard, flush_secs=10)

    def report(metrics: Json) -> None:
        nonlocal written
        step = metrics["step"]
        is_last = step == config.steps
        if board:
            for name in CURVES:
                board.add_scalar(f"train/{name}", metrics[name], step)
            if is_last:
                board.close()
        if time.time() - written > REPORT_SECONDS or is_last:
            written = time.time()
            progress = {
                "title": "train",
                "done": step,
                "total": config.steps,
                "started": started,
                "now": written,
                "loss": metrics["loss"],
                "rate": metrics["rate"],
            }
            store.publish_json(layout.PROGRESS, progress)

    return report


@contextmanager
def _bar(store: Store, title: str, steps: int) -> Iterator[None]:
    """Show progress on standard error that follows what the first worker writes to the journal."""
    stop = threading.Event()
    store.remove(layout.PROGRESS)

    def follow() -> None:
        with progress(title, "step", steps) as bar:
            while True:
                # The journal is read once more after the stop, so that the bar reaches its end.
                stopped = stop.wait(1.0)
                if store.exists(layout.PROGRESS):
                    state = store.read_json(layout.PROGRESS)
                    loss, rate = state["loss"], state["rate"]
                    shown = f"loss {loss:.3f}, learning rate {rate:.1e}"
                    bar.set_postfix_str(shown, refresh=False)
                    bar.update(state["done"] - bar.n)
                if stopped:
                    return

    thread = threading.Thread(target=follow, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
