"""One training run, as the driver sees it: what decides it, its workers, and its model.

It trains on the kept labels of a round or of a folder of round shards. The name of the model's
folder is a digest of everything that decides its content. The workers run under Ray Train; what
each of them does is in `worker.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import time
from collections.abc import Mapping

from pipeline.config.run import ClusterConfig, GroupConfig, RunConfig
from pipeline.errors import WorkerFailed, last_line
from pipeline.execution.activity import add_time
from pipeline.execution.cluster import check_resources, connect
from pipeline.plan.graph import WORK, TrainedModel
from pipeline.plan.recipe import content_hash, fingerprint, recipe_settings
from pipeline.storage import layout, layout_journal
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import FileDigest, Manifest
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSet
from pipeline.training.progress import training_bar
from pipeline.training.worker import TrainJob, run_worker
from stages.florence.config import VERSION, TrainConfig
from stages.florence.model import resolve

# The group of `cluster.groups` whose resources the training workers use.
GROUP = "train"


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
    goes_on = bool(store.list(layout_journal.checkpoints(training.folder)))
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
    store.remove(layout_journal.checkpoints(folder))
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
        training_bar(store, title, training.config.steps),
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
    """Run one worker of Ray Train; with `_run_workers` the only place where training meets Ray."""
    import ray.train

    context = ray.train.get_context()
    run_worker(loop_config["job"], context.get_world_rank(), context.get_world_size())


def _file_digest(store: Store, name: str) -> FileDigest:
    """Describe a file as a manifest does: by its digest and its size in bytes."""
    with store.open(name) as file:
        size = file.seek(0, 2)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")
    return FileDigest(digest.hexdigest(), size)
