"""`fld bench refinement` and `fld bench bootstrapping`: does the loop improve labels?

Both run `experiment=refinement` (configs/experiment/refinement.yaml) by the same function as `fld run`, on rendered
scenes whose specialists make known mistakes, and compare every round's labels of the training images, those that would
be shipped, with the exact truth. A region counts when its category, size and colour are right and its box overlaps
the true one by IoU 0.5 (or 0.75).
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_rows
from pipeline.ingest.assignment import list_source
from pipeline.plan.graph import refine_node_names
from pipeline.quality import truth
from pipeline.refinement.gate import ACCEPTED
from pipeline.refinement.loop import Attempt, run_loop
from pipeline.refinement.round_metrics import held_out
from pipeline.schema import Annotations, Record
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSet
from stages.base import Sample

UNTRAINED = "train.stages=[[64,0]]"  # a round's model is the checkpoint that it starts from
NAMES = {
    "precision": ("region_attributes", "precision"),
    "recall": ("region_attributes", "recall"),
    "f1": ("region_attributes", "f1"),
    "f1_75": ("region_attributes_75", "f1"),
    "caption_accuracy": ("texts", "f1"),
    "caption_words_f1": ("text_tokens", "f1"),
    "triplets_f1": ("triplets", "f1"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementBench:
    """`full` adds seeds and controls; a control takes `control_rounds` and begins with the labels of the first run.
    `settings` are further overrides of the experiment; `work` keeps the runs, so that the same command resumes."""

    full: bool = False
    seeds: int = 3
    control_rounds: int = 3
    settings: tuple[str, ...] = ()
    work: str = ""


def refinement(config: RefinementBench) -> dict[str, Any]:
    started = time.time()
    with folder(config.work) as work:
        first = measured(work / "seed-0", 0, config.settings)
        result = {
            "name": "refinement",
            "f1_by_round": shipped(first, "f1"),
            "f1_75_by_round": shipped(first, "f1_75"),
            "caption_accuracy_by_round": shipped(first, "caption_accuracy"),
            "ratio": shipped(first, "f1_75")[-1] / shipped(first, "f1_75")[0],
            "rounds": first,
        }
        if config.full:
            runs = [
                first,
                *(measured(work / f"seed-{i}", i, config.settings) for i in range(1, config.seeds)),
            ]
            result["seeds"] = spread(runs)
            result["controls"] = controls(work, config.settings, config.control_rounds)
    return {**result, "seconds": time.time() - started, "settings": asdict(config)}


def bootstrapping(config: RefinementBench) -> dict[str, Any]:
    """CIDEr of the detailed texts that a model wrote for 95% of the scenes, having learned from those of 5%."""
    given = ("refine.rounds=1", "specialists.noisy.detailed=0.05", "refine.sparse.texts=[detailed]")
    started = time.time()
    with folder(config.work) as work:
        scores = {
            name: written(
                work / "bootstrapping", (*config.settings, *given, f"refine.sparse.start={start}")
            )
            for name, start in (("round", ""), ("scratch", random_model(work)))
        }
    return {
        "name": "bootstrapping",
        "ratio": scores["round"]["CIDEr"] / max(scores["scratch"]["CIDEr"], 1e-9),
        "from_the_rounds_model": scores["round"],
        "from_scratch": scores["scratch"],
        "seconds": time.time() - started,
        "settings": asdict(config),
    }


def controls(work: Path, settings: Sequence[str], count: int) -> dict[str, Any]:
    """The same run with one thing changed, F1 by round; round 0 is `filters only`.

    A model that is not trained says the same in every round: the first that the gate rejects is its last.
    """
    scratch, same = random_model(work), work / "seed-0"
    shuffled = shuffled_model(same, settings)
    fixed = (UNTRAINED, "refine.stop=no_gain")
    changed = {
        "start_not_trained": fixed,
        "random_model": (f"refine.start={scratch}", *fixed),
        "trained_on_shuffled_labels": (f"refine.start={shuffled}", *fixed),
        "from_scratch": (f"refine.start={scratch}",),
        "two_folds": ("refine.folds=2",),
    }
    made: dict[str, Any] = {
        "model_without_merge": [
            each["model"] for each in measured(same, 0, settings) if each["model"]
        ]
    }
    for name, overrides in changed.items():
        rounds = measured(same, 0, (*settings, f"refine.rounds={count}", *overrides))
        attempts = [
            {
                **{key: each[key] for key in ("status", "reason", "f1", "f1_75")},
                "model_f1": each["model"]["f1"] if each["model"] else None,
            }
            for each in rounds
        ]
        made[name] = {"f1_by_round": shipped(rounds, "f1"), "attempts": attempts}
    return made


@contextlib.contextmanager
def folder(work: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fld-bench-") as temporary:
        yield Path(work or temporary)


def run_seed(
    work: Path, seed: int, settings: Sequence[str]
) -> tuple[Store, RunConfig, list[Attempt]]:
    seeds = (
        f"seed={seed}",
        f"source.seed={seed}",
        f"specialists.noisy.scenes={seed}",
        f"specialists.noisy.seed={seed}",
    )
    run = parse(compose(["experiment=refinement", f"work={work}", *seeds, *settings]))
    store = Store(run.work)
    return store, run, run_loop(store, run, list_source(run.source))


def measured(work: Path, seed: int, settings: Sequence[str]) -> list[dict[str, Any]]:
    """A row per attempted round: the gate's verdict, what the round's labels are worth, and what its model's are."""
    store, run, attempts = run_seed(work, seed, settings)
    rows = []
    for attempt in attempts:
        found = store.read_json(layout.round_metrics(attempt.node.folder))
        rows.append(
            {
                "round": attempt.node.round,
                "status": attempt.verdict.status,
                "reason": attempt.verdict.reason,
                **figures(found["truth"]["trained"]),
                "changes": found["changes"],
                "model": alone(of_models(store, run, attempt)) if attempt.models else None,
            }
        )
    return rows


def figures(summary: dict[str, Any]) -> dict[str, float]:
    return {
        name: round(summary["metrics"][metric][key], 4) for name, (metric, key) in NAMES.items()
    }


def alone(summary: dict[str, Any]) -> dict[str, float]:
    """The figures of what a model says by itself: it grounds the old texts, so that its phrases have none of their
    own."""
    return {name: value for name, value in figures(summary).items() if name != "triplets_f1"}


def shipped(rounds: Sequence[dict[str, Any]], name: str) -> list[float]:
    """A figure of the head after each attempt: a rejected round ships nothing."""
    values: list[float] = []
    for each in rounds:
        values.append(each[name] if each["status"] == ACCEPTED else values[-1])
    return values


def of_models(store: Store, run: RunConfig, attempt: Attempt) -> dict[str, Any]:
    """What the labels would be worth that the round's models found themselves, without the old ones."""
    counts = []
    nodes = [
        node for node in attempt.nodes if node.name in refine_node_names(run, attempt.node.round)
    ]
    for shard in store.done(attempt.node.folder):
        known = read_truth(store, shard)
        for rows in zip(*(read_rows(store, node, shard) for node in nodes), strict=True):
            if not held_out(rows[0].key, run):
                said = Annotations()
                for row in rows:
                    found = row.annotations.where(
                        lambda a: a.round == attempt.node.round and not a.parents
                    )
                    said = said.overlaid(found)
                counts.append(truth.count_sample(said, known[rows[0].key]))
    return truth.summary(np.sum(counts, axis=0))


def spread(runs: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds, by round."""
    found: dict[str, Any] = {"count": len(runs)}
    for name in ("f1", "f1_75", "caption_accuracy"):
        by_round = list(zip(*(shipped(run, name) for run in runs), strict=True))
        found[name] = [
            {"mean": fmean(v), "deviation": stdev(v) if len(v) > 1 else 0.0} for v in by_round
        ]
    return found


def random_model(work: Path) -> str:
    """A nano model with random weights and the tokenizer of the one in this package."""
    from stages.florence.model import create, load, save

    target = work / "random"
    if not target.exists():
        save(create("nano", load("nano").tokenizer, seed=0), target)
    return str(target)


def shuffled_model(work: Path, settings: Sequence[str]) -> str:
    """What a round's training makes of labels that belong to other scenes."""
    from stages.florence.training import train

    store, run, attempts = run_seed(work, 0, (*settings, "refine.rounds=0"))
    node, target = attempts[0].node, work / "shuffled"
    keys = {
        shard: [row.key for row in read_rows(store, node, shard)]
        for shard in store.done(node.folder)
    }
    data, order = TrainingSet(store, node, keys), np.random.default_rng(0)

    def batches(step: int) -> Iterator[list[Sample]]:
        for batch in data.batches(step, run.train.batch_size, run.seed, 0, 1):
            others = [batch[i].annotations for i in order.permutation(len(batch))]
            yield [
                replace(sample, annotations=other)
                for sample, other in zip(batch, others, strict=True)
            ]

    if not target.exists():
        train(run.train, run.refine.start, batches, target)
    return str(target)


def written(work: Path, settings: Sequence[str]) -> dict[str, float]:
    """How good the texts are that `refine.sparse` wrote."""
    from pipeline.quality.captions import score

    store, _, attempts = run_seed(work, 0, settings)
    entries: dict[str, list[Any]] = {"truth": [], "written": []}
    for shard in store.done(attempts[-1].node.folder):
        known = read_truth(store, shard)
        records: list[Record] = read_rows(store, attempts[-1].node, shard)
        for record in records:
            texts = [
                t.text
                for t in record.annotations.texts
                if t.source == "sparse" and t.granularity == "detailed"
            ]
            expected = [t.text for t in known[record.key].texts if t.granularity == "detailed"]
            entries["written"] += [{"image_id": record.key, "caption": text} for text in texts]
            entries["truth"] += [
                {"image_id": record.key, "caption": text} for text in expected if texts
            ]
    found = score({"annotations": entries["truth"]}, entries["written"])
    return {name: found[name] for name in ("CIDEr", "BLEU_4", "ROUGE_L", "images")}
