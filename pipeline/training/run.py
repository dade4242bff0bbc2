"""One training run under Ray Train, on the kept labels of a round or of a folder of round shards.

A killed run goes on from its newest checkpoint; the model's folder is named by everything that decides its content.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.run import ClusterConfig, GroupConfig, RunConfig
from pipeline.execution.engine import check_resources, connect
from pipeline.execution.threads import bound_threads
from pipeline.plan.graph import WORK, Model
from pipeline.plan.recipe import content_hash, fingerprint, recipe_settings
from pipeline.storage.manifest import Manifest
from pipeline.storage.store import Store
from pipeline.training.data import Shards, TrainingSet
from stages.florence.config import VERSION
from stages.florence.model import resolve

PROGRESS = "journal/progress.json"
GROUP = "train"
CURVES = ("loss", "rate", "gradient_norm", "tokens")


@dataclasses.dataclass(frozen=True, slots=True)
class Training:
    """One training run: `folder` of the work folder will hold the model of round `number`.

    `inputs` is the digest of the labels that it learns from, `start` a checkpoint's name or folder, or `work:` and the
    folder of an earlier model.
    """

    config: Any
    start: str
    number: int
    data: TrainingSet
    inputs: str
    folder: str


def prepare(
    run: RunConfig,
    number: int,
    data: TrainingSet,
    inputs: str,
    start: Model | str = "",
    config: Any = None,
) -> Training:
    """Name the training run of a round by everything that decides its result.

    It starts from `refine.start`, another checkpoint, or an earlier model of this run, with the settings of `train` or
    other ones.
    """
    config = dataclasses.replace(config or run.train, seed=run.seed * 1000 + number)
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
        config, name, number, data, inputs, f"models/{number:02d}-{fingerprint(recipe)}"
    )


def _start(start: Model | str) -> tuple[str, str]:
    """Where to load it from, and its content."""
    if isinstance(start, Model):
        return f"{WORK}{start.folder}", start.revision
    return start, content_hash(resolve(start))


def trained(store: Store, training: Training) -> str | None:
    """The digest of the model's files, None when it is still to train."""
    found = store.done(training.folder).get("model")
    return found[1] if found else None


def train(store: Store, cluster: ClusterConfig, training: Training, title: str = "") -> str:
    """Train and publish the model, unless it is there; returns the digest of its files."""
    if found := trained(store, training):
        return found
    import ray

    connect(cluster)
    check_resources(cluster, GROUP)
    workers = _workers(cluster.group(GROUP), ray.cluster_resources())
    folder = training.folder
    _fit(store, cluster.group(GROUP), workers, training, title or f"round {training.number}: train")
    names = [
        name for name in store.list(folder) if name != "manifests"
    ]  # left by a model that was withdrawn
    files = {f"{folder}/{name}": _file(store, f"{folder}/{name}") for name in names}
    samples = len(training.data)
    manifest = Manifest(
        shard="model",
        inputs=training.inputs,
        files=files,
        samples={"in": samples, "kept": samples, "dropped": {}, "failed": {}},
    )
    store.publish_manifest(folder, manifest)
    store.remove(f"journal/train/{folder}")
    return manifest.output


def _workers(group: GroupConfig, have: Mapping[str, float]) -> int:
    """How many workers train at the same time: as many as the cluster has room for, within the group's range.

    Raises:
        ValueError: there is no room for the fewest.
    """
    fewest, most = group.actors or (1, 1)
    wants = _wanted(group)
    fit = min(int(have.get(kind, 0) / each) for kind, each in wants.items())
    if fit < fewest:
        wanted = " and ".join(f"{each * fewest:g} {kind}" for kind, each in wants.items())
        raise ValueError(
            f"cluster.groups.{GROUP}.actors: {fewest} workers want {wanted}, the cluster has room for {fit}"
        )
    return min(fit, most)


def _wanted(group: GroupConfig) -> dict[str, float]:
    """What one worker takes."""
    return {kind: each for kind, each in (("CPU", group.cpus), ("GPU", group.gpus)) if each}


def _fit(store: Store, group: GroupConfig, workers: int, training: Training, title: str) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    with (
        tempfile.TemporaryDirectory(prefix="fld-ray-train-") as scratch,
        _bar(store, title, training.config.steps),
    ):
        TorchTrainer(
            _worker,
            train_loop_config={
                "url": store.url,
                "threads": group.threads,
                "training": _portable(training),
            },
            torch_config=TorchConfig(backend="nccl" if group.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=bool(group.gpus), resources_per_worker=_wanted(group)
            ),
            run_config=RunConfig(
                storage_path=scratch, name="train", failure_config=FailureConfig(max_failures=3)
            ),
        ).fit()


def _worker(setup: dict[str, Any]) -> None:
    """Runs in each Ray Train worker; the only place where training code meets Ray."""
    import ray.train

    from stages.florence import training

    store = Store(setup["url"])
    config, start, (data_url, *data_parts), model_folder = setup["training"]
    if start.startswith(WORK):
        start = store.local_copy(start.removeprefix(WORK))
    bound_threads(setup["threads"])
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    data = TrainingSet(Store(data_url), *data_parts)
    checkpoints = f"journal/train/{model_folder}"
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
            _upload(store, Path(local), model_folder)


def _portable(
    training: Training,
) -> tuple[Any, str, tuple[str, Shards, dict[str, Sequence[str]]], str]:
    data = training.data
    return (
        training.config,
        training.start,
        (data.store.url, data.node, dict(data.keys)),
        training.folder,
    )


def _save(store: Store, checkpoints: str, folder: Path, step: int) -> None:
    """Keep a checkpoint: its mark is written last, older ones go after that."""
    _upload(store, folder, f"{checkpoints}/step-{step:08d}")
    store.publish_json(f"{checkpoints}/step-{step:08d}.done", {})
    for name in store.list(checkpoints):
        if name.split(".")[0] < f"step-{step:08d}":
            store.remove(f"{checkpoints}/{name}")


def _newest(store: Store, checkpoints: str) -> Path | None:
    complete = [name for name in store.list(checkpoints) if name.endswith(".done")]
    if not complete:
        return None
    return Path(store.local_copy(f"{checkpoints}/{complete[-1].removesuffix('.done')}"))


def _upload(store: Store, folder: Path, name: str) -> None:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with (
            store.publishing(f"{name}/{file.relative_to(folder).as_posix()}") as sink,
            file.open("rb") as source,
        ):
            shutil.copyfileobj(source, sink, 1 << 20)


def _file(store: Store, name: str) -> dict[str, Any]:
    import hashlib

    with store.open(name) as file:
        size = file.seek(0, 2)
        file.seek(0)
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": size}


def _reporter(store: Store, config: Any) -> Callable[[dict[str, Any]], None]:
    """Writes each step's metrics to TensorBoard when asked to, and now and then to the journal."""
    started, written, board = time.time(), 0.0, None
    if config.tensorboard:
        from tensorboardX import SummaryWriter  # comes with ray[train]

        board = SummaryWriter(config.tensorboard, flush_secs=10)

    def report(state: dict[str, Any]) -> None:
        nonlocal written
        last = state["step"] == config.steps
        if board:
            for name in CURVES:
                board.add_scalar(f"train/{name}", state[name], state["step"])
            if last:
                board.close()
        if time.time() - written > 2 or last:
            written = time.time()
            store.publish_json(
                PROGRESS,
                {
                    "title": "train",
                    "done": state["step"],
                    "total": config.steps,
                    "started": started,
                    "now": written,
                    "loss": state["loss"],
                    "rate": state["rate"],
                },
            )

    return report


@contextmanager
def _bar(store: Store, title: str, steps: int) -> Iterator[None]:
    """A bar on standard error that follows what the first worker writes to the journal."""
    from tqdm import tqdm

    stop = threading.Event()
    store.remove(PROGRESS)

    def follow() -> None:
        with tqdm(total=steps, desc=title, unit="step", dynamic_ncols=True) as bar:
            while True:
                last = stop.wait(1.0)
                if store.exists(PROGRESS):
                    state = store.read_json(PROGRESS)
                    bar.set_postfix_str(
                        f"loss {state['loss']:.3f}, learning rate {state['rate']:.1e}",
                        refresh=False,
                    )
                    bar.update(state["done"] - bar.n)
                if last:
                    return

    thread = threading.Thread(target=follow, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
