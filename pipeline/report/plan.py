"""What `fld run` would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import assign, ingest_state
from pipeline.plan import graph, shard_state
from pipeline.refinement import loop
from pipeline.storage.layout import IMAGES
from pipeline.storage.rounds import read_round_state
from pipeline.storage.store import Store
from pipeline.training.run import Training, model_digest


def plan(store: Store, run: RunConfig, names: Sequence[str]) -> list[dict[str, Any]]:
    """What `fld run` would do: a line per stage with its folder and the shards that are done and to do.

    Rounds whose labels or model do not exist yet can only be announced: `folder` is None there.
    """
    listing = assign(store, run.source, names, publish=False)
    shards = ingest_state(store, run.source, listing).states
    missing = sum(not state.has(IMAGES) for state in shards.values())
    lines = [{"stage": "ingest", "folder": IMAGES, "done": len(shards) - missing, "todo": missing}]
    nodes = graph.round_zero(run)
    planned = shard_state.plan(store, nodes, shards)
    lines += _lines(planned)
    head, done = nodes[-1], planned.states
    models: graph.RoundModels | None = None

    def known(training: Training) -> str | None:
        revision = model_digest(store, training)
        trained_yet = {"done": int(bool(revision)), "todo": int(not revision)}
        lines.append(
            {"stage": f"{training.number}.train", "folder": training.folder, **trained_yet}
        )
        return revision

    for number in range(1, run.refine.rounds + 1):
        if not all(state.has(head.name) for state in done.values()):
            lines.append(
                {
                    "stage": f"{number}.train and what follows",
                    "folder": None,
                    "done": 0,
                    "todo": len(shards),
                }
            )
            continue
        models = loop.obtain(store, run, head, done, number, models, known)
        if models is None:
            lines.append(
                {
                    "stage": f"{number}.refine and what follows",
                    "folder": None,
                    "done": 0,
                    "todo": len(shards),
                }
            )
            break
        looked = graph.refine_nodes(run, number, head, models)
        planned = shard_state.plan(store, looked, loop.carried(head, done))
        if any(planned.todo(node) for node in looked):
            lines += _lines(planned)
            lines.append(
                {
                    "stage": f"{number}.merge and what follows",
                    "folder": None,
                    "done": 0,
                    "todo": len(shards),
                }
            )
            break
        measured = loop.levels(store, run, head, looked, planned.states, keep=False)
        merge = loop.merge_entry(run, measured)
        nodes = graph.next_round(run, number, head, models, merge)
        planned = shard_state.plan(store, nodes, loop.carried(head, done))
        lines += _lines(planned)
        state = read_round_state(store, nodes[-1].folder)
        verdict = state.status if state else None
        if verdict == loop.ACCEPTED:
            head, done = nodes[-1], planned.states
        elif verdict and run.refine.stop == "no_gain":
            break
    return lines


def _lines(planned: shard_state.Plan) -> list[dict[str, Any]]:
    shards = len(planned.states)
    counts = [(node, planned.todo(node)) for node in planned.nodes]
    return [
        {"stage": node.name, "folder": node.folder, "done": shards - todo, "todo": todo}
        for node, todo in counts
    ]
