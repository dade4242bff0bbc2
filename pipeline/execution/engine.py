"""Groups of stages as one Ray Data pipeline whose rows are names of shards.

Ray schedules, scales and retries. Storage carries the data, so resuming never depends on Ray's
blocks. Many rows are put into a plan in large blocks, because Ray takes half a minute to build a
plan of ten thousand blocks. A first operator without resources takes them apart while the actors
work. So all rows go through one plan, and no actor ends or waits in between. Groups that together
want more than the cluster has run in waves, because actor pools that wait for each other's CPUs
would wait for ever.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from pipeline.config.run import ClusterConfig, GroupConfig
from pipeline.errors import ShardsFailed
from pipeline.execution.activity import tidy
from pipeline.execution.cluster import check_resources, connect
from pipeline.execution.machines import check_work_seen
from pipeline.execution.progress import progress
from pipeline.execution.steps import ShardResult, Step
from pipeline.execution.watched import WatchedActor
from pipeline.plan.shard_state import ShardState
from pipeline.storage import layout_journal
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store

BLOCK_ROWS = 1000
"""Most rows of one block of a Ray Data plan. Up to so many rows get a block each at once."""
PROGRESS_SECONDS = 2.0


class Engine:
    """Runs steps over shards on the cluster of `config`. Ray is started with the first work."""

    def __init__(self, config: ClusterConfig, store: Store) -> None:
        self.config = config
        self.store = store
        self._is_tidy = False

    def run(
        self,
        title: str,
        steps: Sequence[Step],
        shards: Mapping[str, ShardState],
    ) -> dict[str, ShardState]:
        """The states of `shards` with the nodes of all steps added.

        Raises:
            ShardsFailed: some shards could not be done; the others are.
            ValueError, RunFailed: something is wrong that no shard is to blame for. The run ends at
                the first shard that meets it; what is published stays.
        """
        states = dict(shards)
        active = [step for step in steps if _with_work([step], states)]
        if not active:
            return states
        if not self._is_tidy:
            tidy(self.store)
            self._is_tidy = True
        connect(self.config)
        check_work_seen(self.store)
        for wave in self._waves(active):
            errors = self._run_wave(title, wave, states)
            if errors:
                # The next wave would need what is missing.
                shard, error = next(iter(errors.items()))
                message = f"{len(errors)} of {len(states)} shards failed, {shard}: {error}"
                raise ShardsFailed(message)
        return states

    def _run_wave(
        self,
        title: str,
        wave: Sequence[Step],
        states: dict[str, ShardState],
    ) -> dict[str, str]:
        """Run some steps at the same time and put the results in `states`; errors by shard."""
        todo = _with_work(wave, states)
        errors = {}
        names = ", ".join(step.name for step in wave)
        full_title = title if names == title else f"{title}: {names}"
        # A stream that is closed stops its actors, so a fault does not wait for the other shards.
        with (
            self._progress(full_title, len(todo)) as advance,
            closing(self._stream(wave, list(todo.items()))) as results,
        ):
            for result in results:
                if result.fault.message:
                    raise result.fault.error()
                states[result.shard] = result.state
                if result.error:
                    errors[result.shard] = result.error
                advance()
        return errors

    def _stream(
        self,
        wave: Sequence[Step],
        rows: list[tuple[str, ShardState]],
    ) -> Generator[ShardResult]:
        """The shards as they come out of the last step of a wave."""
        data = _dataset([ShardResult(shard, state).row() for shard, state in rows])
        for step in wave:
            data = self._mapped(data, step, len(rows))
        for row in data.iter_rows():
            yield ShardResult.of_row(row)

    def _mapped(self, data: Any, step: Step, rows: int) -> Any:
        import ray

        group = self.config.group(step.name)
        low, high = actors(group, self.config, rows)
        return data.map_batches(
            WatchedActor,
            fn_constructor_args=(step, group.threads, self.store.url),
            batch_size=1,
            zero_copy_batch=False,
            compute=ray.data.ActorPoolStrategy(min_size=low, max_size=high),
            num_cpus=group.cpus,
            num_gpus=group.gpus,
        )

    def _waves(self, steps: Sequence[Step]) -> list[list[Step]]:
        """Consecutive steps whose largest pools fit the cluster together."""
        import ray

        resources = ray.cluster_resources()
        waves: list[list[Step]] = [[]]
        for step in steps:
            check_resources(self.config, step.name)
            wave = [*waves[-1], step]
            if waves[-1] and not self._fits(wave, resources):
                waves.append([step])
            else:
                waves[-1] = wave
        return waves

    def _fits(self, wave: Sequence[Step], resources: Mapping[str, float]) -> bool:
        """Whether the largest pools of some steps fit the cluster together."""
        cpus = gpus = 0.0
        for step in wave:
            group = self.config.group(step.name)
            _, high = _pool_size(group, self.config)
            cpus += group.cpus * high
            gpus += group.gpus * high
        return cpus <= resources.get("CPU", 0) and gpus <= resources.get("GPU", 0)

    @contextmanager
    def _progress(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """Progress on standard error, and the same numbers in the journal for `fld status`."""
        started = time.time()
        written = 0.0
        with progress(title, "shard", total) as bar:

            def advance() -> None:
                nonlocal written
                bar.update()
                now = time.time()
                if now - written <= PROGRESS_SECONDS and bar.n < total:
                    return
                written = now
                state = {
                    "title": title,
                    "done": bar.n,
                    "total": total,
                    "started": started,
                    "now": now,
                }
                self.store.publish_json(layout_journal.PROGRESS, state)

            yield advance


def actors(group: GroupConfig, config: ClusterConfig, rows: int) -> tuple[int, int]:
    """(smallest, largest) size of a group's pool; never more actors than rows."""
    low, high = _pool_size(group, config)
    high = max(1, min(high, rows))
    return min(low, high), high


def _pool_size(group: GroupConfig, config: ClusterConfig) -> tuple[int, int]:
    """(smallest, largest) size of a group's pool, however few rows there are."""
    return group.actors or (1, config.workers)


def _dataset(rows: list[Json]) -> Any:
    """A dataset whose blocks have one row each, so that an actor gets one row at a time."""
    import ray

    if len(rows) <= BLOCK_ROWS:
        return ray.data.from_items(rows, override_num_blocks=len(rows))
    data: Any = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / BLOCK_ROWS))
    # Every row is larger than this many bytes, so each of them becomes a block of its own.
    data.context.target_max_block_size = 1
    return data.map_batches(_one_by_one, batch_size=1, num_cpus=0)


def _one_by_one(batch: Any) -> Any:
    """Give a batch of one row on, as a block of its own."""
    return batch


def _with_work(steps: Sequence[Step], states: Mapping[str, ShardState]) -> dict[str, ShardState]:
    """The shards on which one of some steps has something to do."""
    found = {}
    for shard, state in states.items():
        if any(step.has_work(state) for step in steps):
            found[shard] = state
    return found
