"""The loop: label, filter, train, refine, merge, measure, gate, stop.

Round 0 is the filtered specialists. Round N trains on the head's labels, re-annotates and judges them, merges,
completes what changed and filters; the gate compares it with the head on samples that were held out of training. Every
attempted round is stored with its status in `round.json`; only an accepted one becomes head. Finished work is never
redone: the same call resumes.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline import lineage
from pipeline.config import RunConfig
from pipeline.engine import Engine, Step
from pipeline.ingest import Ingest, assign
from pipeline.lineage import IMAGES, Done, Node
from pipeline.measure import ACCEPTED, Verdict, held_out, judge, measure
from pipeline.records import read_rows
from pipeline.store import Store, digest
from pipeline.train import Training, prepare, train
from pipeline.training_set import TrainingSet
from pipeline.worker import Worker

GRAPH = "journal/graph.json"
warn = logging.getLogger("fld").warning


@dataclass(frozen=True, slots=True)
class Attempt:
    """A round that was made: its last node, the model that refined it, and what the gate said."""

    node: Node
    nodes: Sequence[Node]
    model: str | None
    verdict: Verdict

    @property
    def name(self) -> str:
        return self.node.folder.removeprefix("rounds/")


def run_loop(store: Store, run: RunConfig, names: Sequence[str]) -> list[Attempt]:
    """Everything that `fld run` does between its lease and its report; returns the attempted rounds.

    `names` is what the source lists.
    """
    engine = Engine(run.cluster, store)
    shards = ingest(store, run, engine, names)
    nodes = lineage.round_zero(run)
    done = execute(store, run, engine, nodes, shards, "round 0")
    attempts = [Attempt(nodes[-1], nodes, None, Verdict(ACCEPTED, "the filtered specialists", {}))]
    publish_attempt(store, run, attempts[0], done, [])
    head, head_done = attempts[0], done
    for number in range(1, run.refine.rounds + 1):
        training = prepare_round(store, run, head.node, head_done, number)
        if not len(training.data):
            warn(f"round {number}: no labels to train on; loosen the filters or lower refine.gate.held_out")
            break
        revision = train(store, run.cluster, training)
        nodes = lineage.next_round(run, number, head.node, training.folder, revision)
        base = carried(head.node, head_done)
        done = execute(store, run, engine, nodes, base, f"round {number}", head.node)
        verdict = judge(store, run, head.node, nodes, done)
        attempts.append(Attempt(nodes[-1], nodes, training.folder, verdict))
        publish_attempt(store, run, attempts[-1], done, attempts[:-1])
        if verdict.status == ACCEPTED:
            head, head_done = attempts[-1], done
        elif run.refine.stop == "no_gain":
            break
    publish_head(store, head, attempts)
    return attempts


def ingest(store: Store, run: RunConfig, engine: Engine, names: Sequence[str]) -> dict[str, Done]:
    """Bring new images in; returns what is done of every shard: its images."""
    listing = assign(store, run.source, names)
    shards = ingested(store, listing)
    make = functools.partial(Ingest, store.url, run.source, {s: listing[s] for s, done in shards.items() if not done})
    return engine.run("ingest", [Step("ingest", make, (IMAGES,))], shards)


def ingested(store: Store, listing: Mapping[str, Sequence[str]]) -> dict[str, Done]:
    known = store.done(IMAGES)
    return {shard: {IMAGES: known[shard]} if shard in known else {} for shard in listing}


def execute(
    store: Store, run: RunConfig, engine: Engine, nodes: Sequence[Node], shards: Mapping[str, Done], title: str,
    head: Node | None = None,
) -> dict[str, Done]:  # fmt: skip
    """Do what is to do of `nodes` on every shard."""
    planned = lineage.plan(store, nodes, shards)
    planned.forget_stale(store)
    journal_graph(store, nodes)
    return engine.run(title, steps(store, run, nodes, head), planned.done)


def journal_graph(store: Store, nodes: Sequence[Node]) -> None:
    """Tell readers (`fld status`, `fld explain`) which folders make up the present run, in the order of work."""
    earlier = [] if nodes[0].round == 0 else [n for n in store.read_json(GRAPH) if n["round"] < nodes[0].round]
    mine = [{"name": n.name, "folder": n.folder, "kind": n.kind, "round": n.round} for n in nodes]
    store.publish_json(GRAPH, earlier + mine)


def steps(store: Store, run: RunConfig, nodes: Sequence[Node], head: Node | None = None) -> list[Step]:
    """One step per run of nodes of the same group, in the order of the graph."""
    graph = ([head] if head else []) + list(nodes)
    made = []
    for group, members in itertools.groupby(nodes, key=lambda node: node.group):
        names = tuple(node.name for node in members)
        make = functools.partial(Worker, store.url, graph, names, run.cluster.group(group).threads)
        made.append(Step(group, make, names))
    return made


def carried(head: Node, done: Mapping[str, Done]) -> dict[str, Done]:
    """What a round takes over from its head: the images and the head's labels."""
    return {shard: {name: each[name] for name in (IMAGES, head.name)} for shard, each in done.items()}


def prepare_round(store: Store, run: RunConfig, head: Node, done: Mapping[str, Done], number: int) -> Training:
    """The training of round `number`: on the head's kept labels, but for the samples that are held out."""
    keys = {}
    for shard in done:
        rows = read_rows(store, head, shard)
        keys[shard] = [r.key for r in rows if not held_out(r.key, run) and len(r.annotations.kept())]
    inputs = digest(str(run.refine.gate.held_out), *(done[shard][head.name][1] for shard in sorted(done)))
    return prepare(run, number, TrainingSet(store, head, keys), inputs)


def publish_attempt(
    store: Store, run: RunConfig, attempt: Attempt, done: Mapping[str, Done], before: Sequence[Attempt]
) -> None:
    """`round.json` of a round; also its `index.parquet` and `metrics.json`, unless they are of the same shards."""
    measure(store, run, attempt.node, done)
    head = next((a.name for a in reversed(before) if a.verdict.status == ACCEPTED), None)
    store.publish_json(f"{attempt.node.folder}/round.json", {
        "round": attempt.node.round, "parent": head, "model": attempt.model, "status": attempt.verdict.status,
        "reason": attempt.verdict.reason, "evidence": attempt.verdict.evidence,
    })  # fmt: skip


def publish_head(store: Store, head: Attempt, attempts: Sequence[Attempt]) -> None:
    """`head.json`: the chain that counts. Written once the loop is over, so that readers see whole runs."""
    store.publish_json("head.json", {
        "round": head.name, "model": head.model,
        "attempts": [{"round": a.name, "model": a.model, "status": a.verdict.status} for a in attempts],
    })  # fmt: skip
