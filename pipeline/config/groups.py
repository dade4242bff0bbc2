"""The groups of `cluster.groups` that a run has, and the GPUs that none of them would use."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.run import RunConfig
from stages.base import no_effect

TRAIN_GROUP = "train"
# Groups that the engine itself uses: for training, for ingest, and for the node that writes a
# round.
ENGINE_GROUPS = (TRAIN_GROUP, "ingest", "filters")
# The settings of `cluster.kuberay` that only GPU pods have, and that no shipped file sets.
_GPU_PODS = ("gpu_workers", "node_selector")


def groups_at_work(run: RunConfig) -> set[str]:
    """The groups that have something to do in a run."""
    entries = [*run.specialists.values(), *run.filters.values()]
    names = set(ENGINE_GROUPS)
    if run.refine.rounds > 0:
        entries += [run.refine.annotate, run.refine.merge]
    else:
        names.discard(TRAIN_GROUP)
    names.update(entry.group for entry in entries)
    return names


def idle_gpus(run: RunConfig) -> Iterator[str]:
    """A warning for each setting of `fld submit` that is about GPUs, if no group wants one."""
    cluster = run.cluster
    names = groups_at_work(run)
    if any(cluster.group(name).gpus for name in names):
        return
    reason = f"no group wants a GPU; set cluster.groups.GROUP.gpus ({', '.join(sorted(names))})"
    if cluster.slurm is not None:
        for message in no_effect(cluster.slurm, ("gpus",), reason):
            yield f"cluster.slurm.{message}"
    if cluster.kuberay is not None:
        for message in no_effect(cluster.kuberay, _GPU_PODS, reason):
            yield f"cluster.kuberay.{message}"
