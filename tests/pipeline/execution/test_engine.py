"""The engine on a real local Ray: blocks, waves, errors of shards, faults that end the run."""

import time
from pathlib import Path

import pytest

from pipeline.config.run import ClusterConfig, GroupConfig
from pipeline.errors import ShardsFailed
from pipeline.execution import engine
from pipeline.execution.engine import Engine
from pipeline.execution.steps import ShardFunction, Step
from pipeline.plan.shard_state import ShardState
from pipeline.storage.manifest import Digests
from pipeline.storage.store import Store
from stages.base import StageError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def step(name: str, *after: str) -> Step:
    """A step that fails on shards named bad. Its output names the nodes that were done before."""

    def make() -> ShardFunction:
        def run(shard: str, state: ShardState) -> ShardState:
            if shard.startswith("bad"):
                raise OSError("disk on fire")
            assert state.has_all(after)
            return state.with_(name, Digests("in", "+".join(sorted(state.outputs))))

        return run

    return Step(name, make, (name,))


def test_every_shard_passes_every_step_in_order_whatever_the_size_of_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BLOCK_ROWS", 2)
    config = ClusterConfig(groups={name: GroupConfig(cpus=0.5) for name in "ab"})
    shards = {f"s{i}": ShardState() for i in range(5)}
    done = Engine(config, Store(str(tmp_path))).run("test", [step("a"), step("b", "a")], shards)
    both = ShardState({"a": "", "b": "a"})
    assert done == dict.fromkeys(shards, both)


def test_groups_that_do_not_fit_together_run_in_waves(tmp_path: Path) -> None:
    config = ClusterConfig(groups={name: GroupConfig(cpus=2, actors=(1, 1)) for name in "ab"})
    steps = [step("a"), step("b", "a")]
    runner = Engine(config, Store(str(tmp_path)))
    assert [[s.name for s in wave] for wave in runner._waves(steps)] == [["a"], ["b"]]
    assert set(runner.run("test", steps, {"s": ShardState()})["s"].outputs) == {"a", "b"}


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    known = ShardState({"a": "from before"})
    done = Engine(ClusterConfig(), Store(str(tmp_path))).run("test", [step("a")], {"s": known})
    assert done == {"s": known}


def test_a_shard_that_cannot_be_done_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()

    def make() -> ShardFunction:
        inner = step("a").make()

        def run(shard: str, state: ShardState) -> ShardState:
            result = inner(shard, state)
            (seen / shard).touch()
            return result

        return run

    with pytest.raises(ShardsFailed, match="1 of 3 shards failed, bad: OSError: disk on fire"):
        Engine(ClusterConfig(), Store(str(tmp_path))).run(
            "test", [Step("a", make, ("a",))], dict.fromkeys(("s0", "bad", "s1"), ShardState())
        )
    assert {path.name for path in seen.iterdir()} == {"s0", "s1"}


def test_a_fault_that_is_no_shards_ends_the_run_at_once(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()

    def make() -> ShardFunction:
        def run(shard: str, state: ShardState) -> ShardState:
            (seen / shard).touch()
            if shard == "s1":
                raise StageError("stage a: the key is wrong")
            time.sleep(1)
            return state.with_("a", Digests("in", "a"))

        return run

    shards = {f"s{i}": ShardState() for i in range(100)}
    begun = time.monotonic()
    with pytest.raises(ValueError, match=r"^stage a: the key is wrong$"):
        Engine(ClusterConfig(), Store(str(tmp_path))).run("test", [Step("a", make, ("a",))], shards)
    # All shards would take 50 seconds on two actors.
    assert time.monotonic() - begun < 40
    touched = len(list(seen.iterdir()))
    assert touched < 50
    # The closed stream stops the actor without a fault, too.
    time.sleep(5)
    assert len(list(seen.iterdir())) <= touched + 2


def test_a_group_that_wants_more_than_the_cluster_has_is_refused_at_once(tmp_path: Path) -> None:
    config = ClusterConfig(groups={"a": GroupConfig(gpus=1)})
    with pytest.raises(
        ValueError, match=r"cluster.groups.a: an actor wants 1 GPU, the cluster has 0"
    ):
        Engine(config, Store(str(tmp_path))).run("test", [step("a")], {"s": ShardState()})
