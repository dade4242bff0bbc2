"""The runs of the refinement benches, and what their labels are worth against the exact truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import numpy as np

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_rows
from pipeline.ingest.assignment import list_sources
from pipeline.plan.graph import refine_node_names
from pipeline.quality import truth
from pipeline.quality.coco import Entry
from pipeline.refinement.executor import run_loop
from pipeline.refinement.loop import Attempt
from pipeline.rows import Record, Row
from pipeline.schema import Annotations
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import digest
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSet
from stages.base import Sample, held_out

Figure = Literal[
    "precision",
    "recall",
    "f1",
    "f1_75",
    "caption_accuracy",
    "caption_words_f1",
    "triplets_f1",
]


class Figures(TypedDict):
    """How good some labels are, rounded to four digits."""

    precision: float
    recall: float
    f1: float
    f1_75: float
    """F1 at an IoU of 0.75."""
    caption_accuracy: float
    caption_words_f1: float
    triplets_f1: NotRequired[float]
    """Absent for what a model finds by itself: it grounds the phrases of the old texts."""


class RoundFigures(Figures):
    """The verdict and the figures of one round that was tried, as plain values."""

    round: int
    status: str
    reason: str
    changes: Json | None
    """By kind and fate, how many labels; None for round 0."""
    model: Figures | None
    """The figures of what the round's models find by themselves; None without a model."""


TEXT_SCORES = ("CIDEr", "BLEU_4", "ROUGE_L", "images")


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run of the experiment that has ended."""

    store: Store
    """Its work folder."""
    config: RunConfig
    attempts: Sequence[Attempt]
    """All rounds that were tried, round 0 first."""


def run_experiment(
    work: Path, seed: int, settings: Sequence[str], experiment: str = "refinement"
) -> FinishedRun:
    """Run an experiment with other scenes and other mistakes for each seed."""
    overrides = [
        f"experiment={experiment}",
        f"work={work}",
        f"seed={seed}",
        f"source.seed={seed}",
        f"specialists.noisy.scenes={seed}",
        f"specialists.noisy.seed={seed}",
        *settings,
    ]
    config = parse(compose(overrides))
    store = Store(config.work)
    names = list_sources(config)
    attempts = run_loop(store, config, names)
    return FinishedRun(store, config, attempts)


def measure_rounds(work: Path, seed: int, settings: Sequence[str]) -> list[RoundFigures]:
    """Run the experiment and describe each round that was tried.

    A row has the gate's verdict, the figures of the round's labels, and those of what the round's
    models find by themselves.
    """
    run = run_experiment(work, seed, settings)
    rows: list[RoundFigures] = []
    for attempt in run.attempts:
        node = attempt.node
        verdict = attempt.verdict
        metrics = run.store.read_json(layout.round_metrics(node.folder))
        row: RoundFigures = {
            "round": node.round,
            "status": verdict.status,
            "reason": verdict.reason,
            **_figures(metrics["truth"]["trained"]),
            "changes": metrics["changes"],
            "model": _model_figures(run, attempt) if attempt.models else None,
        }
        rows.append(row)
    return rows


def _figures(summary: truth.Scores) -> Figures:
    """Pick the figures that the bench reports.

    A region has the right attributes when category,
    size and colour are right.
    """
    metrics = summary["metrics"]
    regions = metrics["region_attributes"]
    return {
        "precision": round(regions["precision"], 4),
        "recall": round(regions["recall"], 4),
        "f1": round(regions["f1"], 4),
        "f1_75": round(metrics["region_attributes_75"]["f1"], 4),
        "caption_accuracy": round(metrics["texts"]["f1"], 4),
        "caption_words_f1": round(metrics["text_tokens"]["f1"], 4),
        "triplets_f1": round(metrics["triplets"]["f1"], 4),
    }


def _model_figures(run: FinishedRun, attempt: Attempt) -> Figures:
    """Return the figures of what a round's models find by themselves, without the old labels.

    As for the labels, only samples that the models were trained on count.
    """
    number = attempt.node.round
    wanted = refine_node_names(run.config, number)
    nodes = [node for node in attempt.nodes if node.name in wanted]
    counts = []
    for shard in run.store.done(attempt.node.folder):
        true_labels = read_truth(run.store, shard)
        rows_by_node = [read_rows(run.store, node, shard) for node in nodes]
        for rows in zip(*rows_by_node, strict=True):
            key = rows[0].key
            if held_out(key, run.config.refine.gate.held_out):
                continue
            labels = _new_labels(rows, number)
            count = truth.count_sample(labels, true_labels[key])
            counts.append(count)
    total = np.sum(counts, axis=0)
    figures = _figures(truth.summary(total))
    # A model grounds the phrases of the old texts, so its triplets are not its own.
    figures.pop("triplets_f1")
    return figures


def _new_labels(rows: Sequence[Row], number: int) -> Annotations:
    """Merge what the models of round `number` found in one sample.

    A label with parents was derived from an old label, so it is left out.
    """
    labels = Annotations()
    for row in rows:
        found = row.annotations.where(lambda a: a.round == number and not a.parents)
        labels = labels.overlaid(found)
    return labels


def random_model(work: Path) -> str:
    """Save a nano model with random weights, unless it is there; return its folder.

    It has the tokenizer of the checkpoint in this package.
    """
    from stages.florence.model import create, load, save

    target = work / "random"
    if not target.exists():
        tokenizer = load("nano").tokenizer
        save(create("nano", tokenizer, seed=0), target)
    return str(target)


def shuffled_model(work: Path, seed: int, settings: Sequence[str]) -> str:
    """Train a model on labels that belong to other scenes, unless it is there; return its folder.

    `work` is the folder of a run with these settings, whose round 0 gives the labels. The model
    learns how labels look but not what an image shows.
    """
    from stages.florence.training import train

    run = run_experiment(work, seed, (*settings, "refine.rounds=0"))
    node = run.attempts[0].node
    made_of = (node.folder, run.config.refine.start, repr(run.config.train), str(run.config.seed))
    target = work / f"shuffled-{digest(*made_of)}"
    keys: dict[str, list[str]] = {}
    for shard in run.store.done(node.folder):
        rows = read_rows(run.store, node, shard)
        keys[shard] = [row.key for row in rows]
    data = TrainingSet.listed(run.store, node, keys)
    train_config = run.config.train
    generator = np.random.default_rng(0)

    def batches(step: int) -> Iterator[list[Sample]]:
        ordered = data.batches(step, train_config.batch_size, run.config.seed, 0, 1)
        for batch in ordered:
            order = generator.permutation(len(batch))
            shuffled = []
            for sample, other in zip(batch, order, strict=True):
                labels = batch[other].annotations
                shuffled.append(replace(sample, annotations=labels))
            yield shuffled

    if not target.exists():
        train(train_config, run.config.refine.start, batches, target)
    return str(target)


def score_sparse_texts(work: Path, settings: Sequence[str]) -> dict[str, float]:
    """Run the experiment; score the detailed texts that `refine.sparse` has written."""
    from pipeline.quality.captions import score

    run = run_experiment(work, 0, settings)
    last = run.attempts[-1].node
    expected: list[Entry] = []
    written: list[Entry] = []
    for shard in run.store.done(last.folder):
        true_labels = read_truth(run.store, shard)
        records: list[Record] = read_rows(run.store, last, shard)
        for record in records:
            texts = _detailed(record.annotations, source="sparse")
            written += _captions(record.key, texts)
            if texts:
                true_texts = _detailed(true_labels[record.key])
                expected += _captions(record.key, true_texts)
    scores = score({"annotations": expected}, written)
    return {name: scores[name] for name in TEXT_SCORES}


def _detailed(annotations: Annotations, source: str = "") -> list[str]:
    """Return the detailed texts, of one source if it is named."""
    texts = []
    for text in annotations.texts:
        is_wanted = not source or text.source == source
        if text.granularity == "detailed" and is_wanted:
            texts.append(text.text)
    return texts


def _captions(key: str, texts: Sequence[str]) -> list[Entry]:
    """Return texts as `pipeline.quality.captions` reads them."""
    entries: list[Entry] = []
    for text in texts:
        entries.append({"image_id": key, "caption": text})
    return entries
