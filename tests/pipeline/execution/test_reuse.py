"""A shard that is done again costs only its changed samples, and ends as in a fresh run."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.publishing import publish_signals
from pipeline.execution.reading import ShardTables, read_rows
from pipeline.execution.reuse import record_change
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph, shard_state
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import Row
from pipeline.storage import layout_journal
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Digests
from pipeline.storage.store import Store
from stages import registry
from stages.base import Batch, Result

SHARD = "shard-000000"
NAMES = ("0.detect", "0.region_text", "0.score", "0.segment")  # each reads those before it
FAILED = "scene_000003"


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    chain = "specialists.segment.after=[score]"
    return parse(compose([f"work={tmp_path}", "source.count=6", "source.shard_size=6", chain]))


@pytest.fixture
def nodes(run: RunConfig) -> list[Node]:
    return [node for node in graph.round_zero(run) if node.name in NAMES]


@pytest.fixture
def store(run: RunConfig) -> Store:
    return Store(run.work)


@pytest.fixture
def seen(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """The keys that each node's stage has looked at."""
    looked: dict[str, list[str]] = {}
    for node in nodes:
        cls = registry.load(node.entry.use)[0]
        monkeypatch.setattr(
            cls, "__call__", _watched(cls.__call__, looked.setdefault(node.name, []))
        )
    yield looked


def _watched(original: Callable[[object, Batch], list[Result]], keys: list[str]) -> object:
    def call(self: object, batch: Batch) -> list[Result]:
        keys.extend(sample.key for sample in batch)
        return original(self, batch)

    return call


def ingested(store: Store, run: RunConfig) -> ShardState:
    shards = assign(store, run.source, list_source(run.source))
    return Ingest(store.url, run.source, shards)(SHARD, ShardState())


def work(store: Store, nodes: list[Node], images: ShardState) -> ShardState:
    """What `fld run` does of `nodes`, in two groups as with two pools of actors."""
    planned = shard_state.plan(store, nodes, {SHARD: images})
    planned.withdraw_stale(store)
    done = planned.states[SHARD]
    for group in (NAMES[:2], NAMES[2:]):
        done = Worker(store.url, nodes, group)(SHARD, done)
    return done


def fail(store: Store, node: Node, done: ShardState, key: str) -> None:
    """Leave the work folder as if `key` had failed in `node`."""
    rows = [
        row if row.key != key else Row(key=key, failed="error", detail="hiccup")
        for row in read_rows(store, node, SHARD)
    ]
    store.withdraw(node.folder, {SHARD: ()})
    store.remove(layout_journal.withdrawn(node.folder, SHARD))
    stored = ShardTables(store, {node.name: node}, SHARD)
    publish_signals(stored, node, rows, done)


def tables(store: Store, nodes: list[Node]) -> dict[str, bytes]:
    return {node.name: store.read(node.table(SHARD)) for node in nodes}


def test_a_failed_sample_is_done_again_alone_with_what_follows_and_all_ends_as_without_the_failure(
    store: Store, run: RunConfig, nodes: list[Node], seen: dict[str, list[str]]
) -> None:
    images = ingested(store, run)
    done = work(store, nodes, images)
    clean = tables(store, nodes)
    assert {name: len(keys) for name, keys in seen.items()} == dict.fromkeys(NAMES, 6)

    fail(store, nodes[0], done, FAILED)
    for keys in seen.values():
        keys.clear()
    failed = work(store, nodes, images)
    # No list of changes reached the readers here, so they were done in full on what was left.
    assert failed.output("0.detect") != done.output("0.detect") and len(seen["0.score"]) == 6

    for keys in seen.values():
        keys.clear()
    store.withdraw(nodes[0].folder, {SHARD: [FAILED]})
    assert work(store, nodes, images) == done
    assert seen == {name: [FAILED] for name in NAMES}
    assert tables(store, nodes) == clean
    assert not store.exists(layout_journal.withdrawn(nodes[0].folder, SHARD))


def test_failures_of_another_kind_stay_as_they_are(
    store: Store, run: RunConfig, nodes: list[Node], seen: dict[str, list[str]]
) -> None:
    images = ingested(store, run)
    done = work(store, nodes, images)
    fail(store, nodes[0], done, FAILED)
    before = work(store, nodes, images)
    seen["0.detect"].clear()
    store.withdraw(nodes[0].folder, {SHARD: ["scene_000001"]})
    assert work(store, nodes, images) == before
    assert seen["0.detect"] == ["scene_000001"]


def test_a_table_that_is_not_what_its_manifest_says_is_made_anew(
    store: Store, run: RunConfig, nodes: list[Node], seen: dict[str, list[str]]
) -> None:
    images = ingested(store, run)
    done = work(store, nodes, images)
    table = Path(store.path(nodes[1].table(SHARD)))
    clean = table.read_bytes()
    table.write_bytes(clean[:100] + bytes([clean[100] ^ 1]) + clean[101:])
    store.withdraw(nodes[1].folder, {SHARD: ()})
    for keys in seen.values():
        keys.clear()
    assert work(store, nodes, images) == done
    assert {name: len(keys) for name, keys in seen.items()} == {
        "0.detect": 0,
        "0.region_text": 6,
        "0.score": 0,
        "0.segment": 0,
    }
    assert table.read_bytes() == clean


def test_other_images_make_everything_anew(
    store: Store, run: RunConfig, nodes: list[Node], seen: dict[str, list[str]]
) -> None:
    images = ingested(store, run)
    work(store, nodes, images)
    for keys in seen.values():
        keys.clear()
    work(store, nodes, images.with_(IMAGES, Digests("in", "other")))
    assert {name: len(keys) for name, keys in seen.items()} == dict.fromkeys(NAMES, 6)


def test_what_changed_twice_before_a_reader_came_is_known_to_it(
    store: Store, run: RunConfig, nodes: list[Node], seen: dict[str, list[str]]
) -> None:
    images = ingested(store, run)
    done = work(store, nodes, images)
    outputs, keys = [done.output("0.detect")], ["scene_000001", FAILED]
    for key in keys:
        fail(store, nodes[0], done, key)
        outputs.append(store.done(nodes[0].folder)[SHARD].output)
        record_change(store, nodes[0].folder, SHARD, (outputs[-2], outputs[-1]), {key})
    for looked in seen.values():
        looked.clear()
    work(store, nodes, images)
    assert seen == {name: [] if name == "0.detect" else keys for name in NAMES}
