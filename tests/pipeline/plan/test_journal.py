import json
from pathlib import Path

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.plan import graph
from pipeline.plan.journal import NodeRef, publish_graph, read_graph
from pipeline.storage.store import Store


def test_the_journal_names_the_nodes_in_the_order_of_work(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert read_graph(store) == []
    nodes = graph.round_zero(parse(compose([])))
    publish_graph(store, nodes)
    refs = read_graph(store)
    assert [ref.name for ref in refs] == [node.name for node in nodes]
    assert [ref.table("s") for ref in refs] == [node.table("s") for node in nodes]
    assert refs[0].stage == nodes[0].entry.name
    assert [ref.is_round for ref in refs] == [node.kind == "round" for node in nodes]
    plain = json.loads((tmp_path / "journal/graph.json").read_text())
    assert plain[0].keys() == {"name", "folder", "kind", "round"}


def test_a_round_replaces_itself_and_what_came_after_it_in_the_journal(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    zero = graph.round_zero(parse(compose([])))
    refs = [
        NodeRef(name=f"{number}.x", folder=f"signals/x-{number}", kind="signals", round=number)
        for number in (0, 1, 2)
    ]
    store.publish_json(
        "journal/graph.json",
        [{"name": r.name, "folder": r.folder, "kind": r.kind, "round": r.round} for r in refs],
    )
    assert read_graph(store) == refs
    publish_graph(store, zero)
    assert {ref.round for ref in read_graph(store)} == {0}
