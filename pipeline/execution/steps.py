"""A step of the engine: what an actor does with the shards that Ray sends it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.errors import BrokenFiles
from pipeline.execution.faults import NO_FAULT, Fault, fault_of
from pipeline.execution.threads import bound_threads
from pipeline.plan.shard_state import ShardState
from pipeline.storage.json_types import Json

TRIES = 3
"""How often a shard is tried in one run."""
ShardFunction = Callable[[str, ShardState], ShardState]


@dataclass(frozen=True, slots=True)
class Step:
    """Work on shards by actors of one group."""

    name: str
    """The group whose resources (`cluster.groups`) its actors take."""
    make: Callable[[], ShardFunction]
    """Called once in each actor."""
    nodes: tuple[str, ...]
    """The nodes that it adds to the state of a shard."""

    def has_work(self, state: ShardState) -> bool:
        return not state.has_all(self.nodes)


class Runner(Protocol):
    """Runs steps over shards, as `pipeline.execution.engine.Engine` does on a cluster."""

    def run(
        self,
        title: str,
        steps: Sequence[Step],
        shards: Mapping[str, ShardState],
    ) -> dict[str, ShardState]:
        """The states of `shards` with the nodes of all steps added."""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A shard on its way through a wave of steps. Ray carries it as a row of plain values."""

    shard: str
    state: ShardState
    error: str = ""
    """What went wrong with this shard, "" if nothing did. Later steps then leave it alone."""
    fault: Fault = NO_FAULT
    """Why the other shards cannot be done either."""

    @property
    def failed(self) -> bool:
        return bool(self.error or self.fault.message)

    def row(self) -> Json:
        return {
            "shard": self.shard,
            "state": self.state.encode(),
            "error": self.error,
            "fault": self.fault.message,
            "is_users": self.fault.is_users,
        }

    @classmethod
    def of_row(cls, row: Json) -> ShardResult:
        fault = Fault(str(row["fault"]), bool(row["is_users"]))
        state = ShardState.decode(row["state"])
        return cls(str(row["shard"]), state, str(row["error"]), fault)


class StepActor:
    """One actor: loads its step's stages once, and maps rows that name shards.

    If a shard raises, it is tried again. After the last try the error stays in its row, so that
    the other shards are still done. A fault that is no shard's is not tried again: it goes into the
    row of this shard and of all that come after it.
    """

    def __init__(self, step: Step, threads: int) -> None:
        bound_threads(threads)
        self._run = step.make()
        self._fault = NO_FAULT

    def __call__(self, batch: Json) -> Json:
        result = ShardResult.of_row({name: values[0] for name, values in batch.items()})
        if not result.failed:
            result = self._try(result)
        return {name: [value] for name, value in result.row().items()}

    def _try(self, result: ShardResult) -> ShardResult:
        """The shard with its new state, or with its last error or the fault."""
        error = ""
        for attempt in range(TRIES):
            if self._fault.message:
                return replace(result, fault=self._fault)
            try:
                return replace(result, state=self._run(result.shard, result.state))
            except BrokenFiles as failure:
                # They stay broken until the next run.
                return replace(result, error=str(failure))
            except Exception as failure:
                self._fault = fault_of(failure)
                error = f"{type(failure).__name__}: {failure}"
                logging.getLogger("fld").exception("%s, attempt %d", result.shard, attempt + 1)
                if not self._fault.message:
                    time.sleep(attempt)
        return replace(result, error=error, fault=self._fault)
