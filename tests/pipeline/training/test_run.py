"""How many workers train."""

from __future__ import annotations

import pytest

from pipeline.config.run import GroupConfig
from pipeline.training.run import _workers


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
