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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from pipeline.config.run import RunConfig
from pipeline.execution.engine import Engine, Step
from pipeline.execution.reading import index_name, read_rows
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, check_keys, ingested
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph, shard_state
from pipeline.plan.graph import IMAGES, Model, Models, Node
from pipeline.plan.shard_state import Done
from pipeline.refinement.gate import ACCEPTED, Verdict, judge, levels
from pipeline.refinement.round_metrics import held_out, measure
from pipeline.refinement.rules import Levels, MergeConfig
from pipeline.schema import KINDS, IndexRow
from pipeline.storage.manifest import digest
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSet
from pipeline.training.run import Training, prepare, train
from stages.base import fold_of
from stages.florence.tasks import TEXT_TASKS

GRAPH = "journal/graph.json"
warn = logging.getLogger("fld").warning


@dataclass(frozen=True, slots=True)
class Attempt:
    """A round that was made: its last node, the models that refined it, and what the gate said."""

    node: Node
    nodes: Sequence[Node]
    models: Sequence[Model]
    verdict: Verdict

    @property
    def name(self) -> str:
        return self.node.folder.removeprefix("rounds/")

    @property
    def model(self) -> str | None:
        return self.models[0].folder if self.models else None


def run_loop(store: Store, run: RunConfig, names: Sequence[str]) -> list[Attempt]:
    """Everything that `fld run` does between its lease and its report; returns the attempted rounds.

    `names` is what the source lists.
    """
    engine = Engine(run.cluster, store)
    shards = ingest(store, run, engine, names)
    nodes = graph.round_zero(run)
    done = execute(store, run, engine, nodes, shards, "round 0")
    attempts = [Attempt(nodes[-1], nodes, (), Verdict(ACCEPTED, "the filtered specialists", {}))]
    publish_attempt(store, run, attempts[0], done, [])
    head, head_done = attempts[0], done
    models: Models | None = None
    for number in range(1, run.refine.rounds + 1):
        get = functools.partial(train, store, run.cluster)
        models = obtain(store, run, head.node, head_done, number, models, get)
        if models is None:
            warn(
                f"round {number}: no labels to train on; loosen the filters or lower refine.gate.held_out"
            )
            break
        base, title = carried(head.node, head_done), f"round {number}"
        looked = graph.refining(run, number, head.node, models)
        done = execute(store, run, engine, looked, base, title, head.node)
        nodes = graph.next_round(
            run, number, head.node, models, levels(store, run, head.node, looked, done)
        )
        done = execute(store, run, engine, nodes, base, title, head.node)
        verdict = judge(store, run, head.node, nodes, done)
        attempts.append(Attempt(nodes[-1], nodes, models.refining, verdict))
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
    shards, relabelled = ingested(store, run.source, listing)
    store.withdraw(IMAGES, dict.fromkeys(relabelled, ()))
    make = functools.partial(
        Ingest, store.url, run.source, {s: listing[s] for s, done in shards.items() if not done}
    )
    done = engine.run("ingest", [Step("ingest", make, (IMAGES,))], shards)
    check_keys(store, run.source, list(done))
    return done


def execute(
    store: Store,
    run: RunConfig,
    engine: Engine,
    nodes: Sequence[Node],
    shards: Mapping[str, Done],
    title: str,
    head: Node | None = None,
) -> dict[str, Done]:
    """Do what is to do of `nodes` on every shard."""
    planned = shard_state.plan(store, nodes, shards)
    planned.forget_stale(store)
    journal_graph(store, nodes)
    return engine.run(title, steps(store, run, nodes, head), planned.done)


def journal_graph(store: Store, nodes: Sequence[Node]) -> None:
    """Tell readers (`fld status`, `fld explain`) which folders make up the present run, in the order of work."""
    earlier = (
        []
        if nodes[0].round == 0
        else [n for n in store.read_json(GRAPH) if n["round"] < nodes[0].round]
    )
    mine = [{"name": n.name, "folder": n.folder, "kind": n.kind, "round": n.round} for n in nodes]
    store.publish_json(GRAPH, earlier + mine)


def steps(
    store: Store, run: RunConfig, nodes: Sequence[Node], head: Node | None = None
) -> list[Step]:
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
    return {
        shard: {name: each[name] for name in (IMAGES, head.name)} for shard, each in done.items()
    }


def obtain(
    store: Store,
    run: RunConfig,
    head: Node,
    done: Mapping[str, Done],
    number: int,
    before: Models | None,
    get: Callable[[Training], str | None],
) -> Models | None:
    """The models of round `number`, `before` being those of the round before it. `get` trains a model, or looks it up,
    and returns its revision; None when that is None or there is nothing to learn from."""
    refining: list[Model] = []
    for fold, training in trainings(store, run, head, done, number, before).items():
        revision = get(training) if len(training.data) else None
        if revision is None:
            return None
        refining.append(Model(training.folder, revision, fold))
    texts = sparse_training(store, run, head, done, number, refining[0])
    if texts is None:
        return Models(refining)
    revision = get(texts)
    return Models(refining, Model(texts.folder, revision)) if revision else None


def trainings(
    store: Store,
    run: RunConfig,
    head: Node,
    done: Mapping[str, Done],
    number: int,
    before: Models | None,
) -> dict[int | None, Training]:
    """The trainings of a round by the fold that they leave out (None: nothing): on the head's kept labels, but for the
    samples that are held out."""
    folds = run.refine.folds
    previous = before.refining if before and run.refine.start_from == "previous" else ()
    earlier = {model.fold: model for model in previous}
    keys = _labelled(store, run, head, done)
    labels = digest(
        str(run.refine.gate.held_out), *(done[shard][head.name][1] for shard in sorted(done))
    )
    planned: dict[int | None, Training] = {}
    for fold in range(folds) if folds > 1 else (None,):
        mine = {
            shard: [k for k in each if fold is None or fold_of(k, folds) != fold]
            for shard, each in keys.items()
        }
        inputs = labels if fold is None else digest(labels, f"fold {fold} of {folds}")
        planned[fold] = prepare(
            run, number, TrainingSet(store, head, mine), inputs, earlier.get(fold, "")
        )
    return planned


def _labelled(
    store: Store, run: RunConfig, head: Node, done: Mapping[str, Done]
) -> dict[str, list[str]]:
    """The samples with labels that may be trained on, by shard."""
    keys = {}
    for shard in done:
        rows: list[IndexRow] = read_table(store, index_name(head, shard), IndexRow)
        labelled = [row.key for row in rows if any(getattr(row, kind) for kind in KINDS)]
        keys[shard] = [key for key in labelled if not held_out(key, run)]
    return keys


def sparse_training(
    store: Store, run: RunConfig, head: Node, done: Mapping[str, Done], number: int, model: Model
) -> Training | None:
    """The fine-tuning on texts that only some samples of the head have; None when none or all have them."""
    sparse = run.refine.sparse
    wanted = set(sparse.texts)
    if not wanted:
        return None
    keys, missing = {}, 0
    for shard in done:
        told = [
            (r.key, {t.granularity for t in r.annotations.kept().texts})
            for r in read_rows(store, head, shard)
        ]
        keys[shard] = [key for key, has in told if wanted & has and not held_out(key, run)]
        missing += sum(not wanted <= has for _, has in told)
    if not missing or not any(keys.values()):
        return None
    inputs = digest(
        "sparse",
        str(run.refine.gate.held_out),
        *(done[shard][head.name][1] for shard in sorted(done)),
    )
    tasks = tuple(token for token, granularity in TEXT_TASKS.items() if granularity in wanted)
    config = replace(
        run.train,
        tasks=tasks,
        families={"image": 1.0},
        stages=sparse.stages,
        batch_size=sparse.batch_size,
    )
    return prepare(
        run, number, TrainingSet(store, head, keys), inputs, sparse.start or model, config
    )


def publish_attempt(
    store: Store,
    run: RunConfig,
    attempt: Attempt,
    done: Mapping[str, Done],
    before: Sequence[Attempt],
) -> None:
    """`round.json` of a round; also its `index.parquet` and `metrics.json`, unless they are of the same shards."""
    parent = next((a for a in reversed(before) if a.verdict.status == ACCEPTED), None)
    measure(store, run, attempt.node, done, parent.node if parent else None)
    store.publish_json(
        f"{attempt.node.folder}/round.json",
        {
            "round": attempt.node.round,
            "parent": parent.name if parent else None,
            "model": attempt.model,
            "status": attempt.verdict.status,
            "models": [model.folder for model in attempt.models],
            "reason": attempt.verdict.reason,
            "evidence": attempt.verdict.evidence,
            "levels": {kind: asdict(each) for kind, each in merge_levels(attempt.nodes).items()},
        },
    )


def merge_levels(nodes: Sequence[Node]) -> Mapping[str, Levels]:
    """What a round's merge measured by."""
    made = [
        node.entry.options.levels for node in nodes if isinstance(node.entry.options, MergeConfig)
    ]
    return made[0] if made else {}


def publish_head(store: Store, head: Attempt, attempts: Sequence[Attempt]) -> None:
    """`head.json`: the chain that counts. Written once the loop is over, so that readers see whole runs."""
    store.publish_json(
        "head.json",
        {
            "round": head.name,
            "model": head.model,
            "attempts": [
                {"round": a.name, "model": a.model, "status": a.verdict.status} for a in attempts
            ],
        },
    )
