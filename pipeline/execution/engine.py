"""Groups of stages as one Ray Data pipeline whose rows are shard names.

Ray schedules, scales and retries; storage carries the data, so resuming never depends on Ray's blocks. Rows are fed in
windows (a plan of ten thousand rows takes Ray half a minute to build) and groups that together want more than the
cluster has run in waves, because actor pools that wait for each other's CPUs would wait for ever.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.config.run import ClusterConfig, GroupConfig
from pipeline.errors import ClusterFailed, ShardsFailed
from pipeline.execution.threads import bound_threads
from pipeline.plan.shard_state import Done
from pipeline.storage import layout
from pipeline.storage.store import Store

WINDOW = 2000
TRIES = 3
ShardFunction = Callable[[str, Done], Done]


@dataclass(frozen=True, slots=True)
class Step:
    """Work on shards that shares actors: `make` is called once in each actor, in the resources of group `name`."""

    name: str
    make: Callable[[], ShardFunction]
    nodes: tuple[str, ...]  # what it adds to a shard's `Done`


class Engine:
    """Runs steps over shards on the cluster of `config`; Ray is started when the first work comes."""

    def __init__(self, config: ClusterConfig, store: Store) -> None:
        self.config, self.store = config, store

    def run(self, title: str, steps: Sequence[Step], shards: Mapping[str, Done]) -> dict[str, Done]:
        """`shards` with what the steps add; only shards and steps with something to do are touched."""
        done = dict(shards)
        errors: dict[str, str] = {}
        active = [step for step in steps if any(_todo(step, each) for each in done.values())]
        if not active:
            return done
        connect(self.config)
        for wave in self._waves(active):
            todo = {
                shard: each
                for shard, each in done.items()
                if any(_todo(step, each) for step in wave)
            }
            with self._progress(
                f"{title}: {', '.join(step.name for step in wave)}", len(todo)
            ) as advance:
                for shard, each, error in self._stream(wave, list(todo.items())):
                    done[shard] = each
                    if error:
                        errors[shard] = error
                    advance()
            if errors:  # the next wave would need what is missing
                shard, error = next(iter(errors.items()))
                raise ShardsFailed(f"{len(errors)} of {len(done)} shards failed, {shard}: {error}")
        return done

    def _stream(
        self, wave: Sequence[Step], rows: list[tuple[str, Done]]
    ) -> Iterator[tuple[str, Done, str]]:
        import ray

        for start in range(0, len(rows), WINDOW):
            window = [
                {"shard": shard, "done": json.dumps(done), "error": ""}
                for shard, done in rows[start : start + WINDOW]
            ]
            data: ray.data.Dataset = ray.data.from_items(window, override_num_blocks=len(window))
            for step in wave:
                group = self.config.group(step.name)
                low, high = actors(group, self.config, len(window))
                data = data.map_batches(
                    StepActor,
                    fn_constructor_args=(step, group.threads),
                    batch_size=1,
                    zero_copy_batch=False,
                    compute=ray.data.ActorPoolStrategy(min_size=low, max_size=high),
                    num_cpus=group.cpus,
                    num_gpus=group.gpus,
                )
            for row in data.iter_rows():
                yield row["shard"], _loads(row["done"]), row["error"]

    def _waves(self, steps: Sequence[Step]) -> list[list[Step]]:
        """Consecutive steps whose largest pools fit the cluster together."""
        import ray

        have = ray.cluster_resources()
        waves: list[list[Step]] = [[]]
        for step in steps:
            check_resources(self.config, step.name)
            wave = [*waves[-1], step]
            if waves[-1] and not self._fits(wave, have):
                waves.append([step])
            else:
                waves[-1] = wave
        return waves

    def _fits(self, wave: Sequence[Step], have: Mapping[str, float]) -> bool:
        groups = [self.config.group(step.name) for step in wave]
        highs = [actors(group, self.config, WINDOW)[1] for group in groups]
        cpus = sum(group.cpus * high for group, high in zip(groups, highs, strict=True))
        gpus = sum(group.gpus * high for group, high in zip(groups, highs, strict=True))
        return cpus <= have.get("CPU", 0) and gpus <= have.get("GPU", 0)

    @contextmanager
    def _progress(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar on standard error, and the same numbers in the journal for `fld status`."""
        from tqdm import tqdm

        started, written = time.time(), 0.0
        with tqdm(total=total, desc=title, unit="shard", dynamic_ncols=True) as bar:

            def advance() -> None:
                nonlocal written
                bar.update()
                if time.time() - written > 2 or bar.n == total:
                    written = time.time()
                    state = {
                        "title": title,
                        "done": bar.n,
                        "total": total,
                        "started": started,
                        "now": written,
                    }
                    self.store.publish_json(layout.PROGRESS, state)

            yield advance


class StepActor:
    """One actor: loads its step's stages once and maps rows that name shards.

    An error of a shard is tried again, then carried in its row, so that the other shards are done.
    """

    def __init__(self, step: Step, threads: int) -> None:
        bound_threads(threads)
        self._run = step.make()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        shard, done, error = (
            str(batch["shard"][0]),
            _loads(batch["done"][0]),
            str(batch["error"][0]),
        )
        for attempt in range(0 if error else TRIES):
            try:
                done, error = self._run(shard, done), ""
                break
            except Exception as failure:
                error = f"{type(failure).__name__}: {failure}"
                logging.getLogger("fld").exception("%s, attempt %d", shard, attempt + 1)
                time.sleep(attempt)
        return {"shard": [shard], "done": [json.dumps(done)], "error": [error]}


def connect(config: ClusterConfig) -> None:
    """Join the cluster of `config.address`, or start Ray on this machine; once per process.

    Raises:
        ClusterFailed: there is none at that address, or Ray cannot run here.
    """
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = {"address": config.address} if config.address else {"include_dashboard": False}
    try:
        ray.init(
            **address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True
        )
    except Exception as error:  # Ray raises plain ones when it does not come up in time
        raise ClusterFailed(
            f"cluster.address={config.address or 'null'}: Ray does not start: {error}"
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def check_resources(config: ClusterConfig, name: str) -> None:
    """Raises:
    ValueError: one actor of the group wants more than the whole cluster has, so Ray would wait for ever.
    """
    import ray

    group, have = config.group(name), ray.cluster_resources()
    for kind, each in (("CPU", group.cpus), ("GPU", group.gpus)):
        if each > have.get(kind, 0):
            has = f"the cluster has {have.get(kind, 0):g}"
            raise ValueError(f"cluster.groups.{name}: an actor wants {each:g} {kind}, {has}")


def actors(group: GroupConfig, config: ClusterConfig, rows: int) -> tuple[int, int]:
    """The smallest and largest pool of a group; never more actors than rows."""
    low, high = group.actors or (1, config.workers)
    high = max(1, min(high, rows))
    return min(low, high), high


def _loads(text: str) -> Done:
    return {name: tuple(pair) for name, pair in json.loads(text).items()}


def _todo(step: Step, done: Done) -> bool:
    return any(name not in done for name in step.nodes)
