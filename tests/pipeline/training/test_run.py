"""How many workers train, and what is said when they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.run import GroupConfig
from pipeline.errors import WorkerFailed
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSet
from pipeline.training.run import Training, _run_workers, _workers
from pipeline.training.shards import ShardFolder
from stages.florence.training import TrainConfig


@pytest.mark.parametrize(
    ("actors", "cpus", "workers"),
    [
        (None, 8, 1),
        ((1, 4), 8, 4),
        ((1, 4), 2, 2),
        ((2, 4), 2, 2),
        ((1, 2), 1, 1),
    ],
)
def test_as_many_workers_train_as_there_is_room_for(
    actors: tuple[int, int] | None, cpus: int, workers: int
) -> None:
    assert _workers(GroupConfig(actors=actors), {"CPU": cpus}) == workers


def test_the_scarcest_resource_counts() -> None:
    group = GroupConfig(actors=(1, 8), cpus=2, gpus=1)
    assert _workers(group, {"CPU": 16, "GPU": 3}) == 3
    with pytest.raises(
        ValueError, match="actors: 1 workers want 2 CPU and 1 GPU, the cluster has room for 0"
    ):
        _workers(group, {"CPU": 16})


def test_workers_that_fail_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.train import TrainingFailedError
    from ray.train.torch import TorchTrainer

    def fail(trainer: Any) -> None:
        raise TrainingFailedError("Training failed:\nTraceback\n  x\nRuntimeError: no memory\n")

    monkeypatch.setattr(TorchTrainer, "fit", fail)
    store = Store(str(tmp_path))
    data = TrainingSet.listed(store, ShardFolder("scenes"), {})
    training = Training(TrainConfig(), "nano", 1, data, "", "models/a")
    with pytest.raises(WorkerFailed) as caught:
        _run_workers(store, GroupConfig(), 1, training, "round 1: train")
    assert str(caught.value) == "round 1: train: RuntimeError: no memory"
