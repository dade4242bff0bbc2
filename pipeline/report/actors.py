"""How busy the groups of actors of the last run are, and which stage holds the others up.

Stages stream: each group takes shards as the group before gives them. So the group whose actors are
always busy is the one that the others wait for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypedDict

from pipeline.execution.activity import SILENT_SECONDS, ActorState, actors
from pipeline.storage import lease
from pipeline.storage.store import Store


class StageRate(TypedDict):
    """What a stage has done in the actors of one group."""

    stage: str
    samples: int
    shards: int
    seconds: float
    """Of all actors together, without the loading of models."""
    samples_per_second: float | None
    """Of one actor; None for a step that counts no samples."""
    share: float
    """Of the seconds of all stages of the group, 0 to 1."""


class GroupStatus(TypedDict):
    """The actors of one group."""

    group: str
    actors: int
    """Those that live; after the run all that lived in it."""
    busy: float
    """Share of their time in which they worked on a shard, 0 to 1."""
    shards: int
    working_on: list[str]
    """The shards that they work on, with the stage."""
    stages: list[StageRate]
    """The slowest first."""


class Bottleneck(TypedDict):
    """The stage that takes most of the time of the busiest group."""

    group: str
    stage: str
    busy: float
    """Of the group."""
    share: float
    """Of the stage in the group's time."""


def group_states(store: Store, running: bool) -> list[GroupStatus]:
    """The groups of the last run, in the order in which they began."""
    driver = lease.holder(store)
    if driver is None:
        return []
    run = lease.process_of(driver)
    groups: dict[str, list[ActorState]] = {}
    for actor in sorted(actors(store), key=_began):
        if actor["run"] == run:
            groups.setdefault(actor["group"], []).append(actor)
    return [_group(name, members, running) for name, members in groups.items()]


def bottleneck(groups: Sequence[GroupStatus]) -> Bottleneck | None:
    """What holds the others up; None if no actor has told anything yet."""
    candidates = [group for group in groups if group["actors"] and group["stages"]]
    if not candidates:
        return None
    busiest = max(candidates, key=_busy)
    slowest = busiest["stages"][0]
    return {
        "group": busiest["group"],
        "stage": slowest["stage"],
        "busy": busiest["busy"],
        "share": slowest["share"],
    }


def _began(actor: ActorState) -> float:
    return actor["since"]


def _busy(group: GroupStatus) -> float:
    return group["busy"]


def _seconds(stage: StageRate) -> float:
    return stage["seconds"]


def _group(name: str, members: Sequence[ActorState], running: bool) -> GroupStatus:
    now = time.time()
    living = [actor for actor in members if now - actor["beat"] < SILENT_SECONDS]
    counted = living if running else members
    lived = sum(actor["beat"] - actor["since"] for actor in counted)
    working_on = []
    if running:
        for actor in living:
            if actor["shard"]:
                working_on.append(f"{actor['shard']} {actor['stage']}".rstrip())
    return {
        "group": name,
        "actors": len(counted),
        "busy": min(1.0, sum(actor["busy"] for actor in counted) / lived) if lived else 0.0,
        "shards": sum(actor["shards"] for actor in members),
        "working_on": working_on,
        "stages": _stages(members),
    }


def _stages(members: Sequence[ActorState]) -> list[StageRate]:
    """The sums over some actors."""
    found: dict[str, StageRate] = {}
    for actor in members:
        for name, spent in actor["stages"].items():
            rate = found.setdefault(name, _nothing(name))
            rate["samples"] += spent["samples"]
            rate["shards"] += spent["shards"]
            rate["seconds"] += spent["seconds"]
    total = sum(rate["seconds"] for rate in found.values())
    for rate in found.values():
        if rate["samples"] and rate["seconds"]:
            rate["samples_per_second"] = rate["samples"] / rate["seconds"]
        rate["share"] = rate["seconds"] / total if total else 0.0
    return sorted(found.values(), key=_seconds, reverse=True)


def _nothing(stage: str) -> StageRate:
    return {
        "stage": stage,
        "samples": 0,
        "shards": 0,
        "seconds": 0.0,
        "samples_per_second": None,
        "share": 0.0,
    }
