"""GPUs that a job asks for, and the groups of stages that would use them."""

from __future__ import annotations

import pytest

from pipeline.config.compose import compose
from pipeline.config.effects import warnings
from pipeline.config.parse import parse

REASON = "no effect: no group wants a GPU; set cluster.groups.GROUP.gpus "
GROUPS = "(filters, ingest, refine, specialists, train)"
GPU_PODS = "cluster.kuberay.gpu_workers={gpus: 2}"


def lines(*overrides: str) -> list[str]:
    return warnings(parse(compose(list(overrides))))


def test_gpus_that_no_group_wants_are_told() -> None:
    gpus = ("cluster=slurm", "cluster.slurm.gpus=4")
    assert lines(*gpus) == [f"cluster.slurm.gpus=4: {REASON}{GROUPS}"]
    pods = ("cluster=kuberay", "cluster.kuberay.node_selector={gpu: h100}", GPU_PODS)
    told = lines(*pods)
    assert [line.partition("=")[0] for line in told] == [
        "cluster.kuberay.gpu_workers",
        "cluster.kuberay.node_selector",
    ]
    assert all(line.endswith(f"{REASON}{GROUPS}") for line in told)


@pytest.mark.parametrize("group", ["specialists", "refine", "train"])
def test_gpus_that_a_group_wants_are_not(group: str) -> None:
    wanted = f"cluster.groups.{group}={{gpus: 1}}"
    assert lines("cluster=slurm", "cluster.slurm.gpus=4", wanted) == []
    assert lines("cluster=kuberay", GPU_PODS, wanted) == []


def test_the_gpus_of_rounds_are_idle_in_a_run_without_rounds() -> None:
    wanted = ("cluster.groups.refine={gpus: 1}", "cluster.groups.train={gpus: 1}")
    told = lines("cluster=slurm", "cluster.slurm.gpus=4", "refine.rounds=0", *wanted)
    assert told == [f"cluster.slurm.gpus=4: {REASON}(filters, ingest, specialists)"]
