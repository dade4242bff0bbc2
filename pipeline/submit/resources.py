"""What the actors of a run need, to size the machines of its job."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.groups import TRAIN_GROUP, groups_at_work
from pipeline.config.run import ClusterConfig, RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNeed:
    """What the actors of a group need."""

    name: str
    cpus: float
    """CPU cores of one actor."""
    gpus: float
    """GPUs of one actor."""
    actors: int
    """The most actors at one time."""


def needs(run: RunConfig) -> list[GroupNeed]:
    """What each group of a run needs, by name."""
    found = _needs(run.cluster, sorted(groups_at_work(run)))
    return list(found)


def check_fits(needs: list[GroupNeed], cpus: float, gpus: float, where: str) -> None:
    """Check that a machine of `cpus` cores and `gpus` GPUs has room for an actor of each group.

    Raises:
        ValueError: it has not. `where` names the settings of the machine, such as `cluster.slurm.`.
    """
    problem = ""
    for need in needs:
        if need.cpus > cpus:
            problem = f"{need.cpus:g} cpus, and {where}cpus={cpus:g}"
        elif need.gpus > gpus:
            problem = f"{need.gpus:g} gpus, and {where}gpus={gpus:g}"
        if problem:
            raise ValueError(f"cluster.groups.{need.name}: an actor wants {problem}; raise it")


def machines(needs: list[GroupNeed], cpus: float, gpus: float) -> int:
    """How many machines of `cpus` cores and `gpus` GPUs hold all actors at one time."""
    all_cpus = all_gpus = 0.0
    for need in needs:
        all_cpus += need.cpus * need.actors
        all_gpus += need.gpus * need.actors
    count = max(1, math.ceil(all_cpus / cpus))
    if gpus:
        count = max(count, math.ceil(all_gpus / gpus))
    return count


def _needs(cluster: ClusterConfig, names: list[str]) -> Iterator[GroupNeed]:
    """What each of these groups needs."""
    for name in names:
        group = cluster.group(name)
        # Training takes one worker unless it sets `actors`.
        most = 1 if name == TRAIN_GROUP else cluster.workers
        if group.actors is not None:
            most = group.actors[1]
        yield GroupNeed(
            name=name,
            cpus=group.cpus,
            gpus=group.gpus,
            actors=most,
        )
