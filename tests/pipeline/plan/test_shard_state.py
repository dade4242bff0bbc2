from pipeline.plan.shard_state import ShardState
from pipeline.storage.manifest import Digests


def test_a_state_survives_the_way_through_a_row_of_ray() -> None:
    state = ShardState({"images": "b", "0.detect": "d"})
    assert ShardState.decode(state.encode()) == state
    assert state.encode() == '{"images": "b", "0.detect": "d"}'
    assert ShardState.decode(ShardState().encode()) == ShardState()


def test_a_state_with_one_more_node_leaves_the_old_one_as_it_was() -> None:
    old = ShardState({"images": "b"})
    new = old.with_("0.detect", Digests("c", "d"))
    assert not old.has("0.detect") and new.has_all(("images", "0.detect"))
    assert new.output("0.detect") == "d"
    assert new.only(["images"]) == old
