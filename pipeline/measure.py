"""Numbers of a round, and the gate's verdict on it.

With truth (rendered, or labels of people that the source gives as truth) a round is compared with the head on the
samples that were held out of training, by a paired bootstrap. Without, the evidence is weaker: how many of the head's
labels on held-out samples the round's model confirms (pipeline/merge.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import merge
from pipeline.config import RunConfig
from pipeline.levels import Levels
from pipeline.lineage import IMAGES, Done, Node, model_nodes
from pipeline.quality import truth
from pipeline.recipe import recipe_settings
from pipeline.records import count_annotations, index_name, read_before, read_parquet, read_rows, read_truth
from pipeline.report.changes import CONFIRMED, KEPT, tally
from pipeline.schema import KINDS, Annotations, Record, Row
from pipeline.store import Store, digest
from stages.base import fold_of

ACCEPTED, REJECTED = "accepted", "rejected"
UNCHANGED = {KEPT, CONFIRMED}
INDEX = "index.parquet"
VERSION = 1  # of what is measured and how: another one measures anew
MEASURED = "journal/measured"  # what reading all rows of a round has told, so that a finished run need not read them


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a round, in a line, with the numbers behind it."""

    status: str
    reason: str
    evidence: dict[str, Any]


def measure(
    store: Store, run: RunConfig, node: Node, done: Mapping[str, Done], head: Node | None = None
) -> dict[str, Any]:
    """`metrics.json` and `index.parquet` of a round, made anew only when its shards have changed. `head` is the round
    that it began with."""
    inputs = (run.refine.gate.held_out, head.fingerprint if head else "", _outputs([node], done))
    metrics = _once(store, f"{node.folder}/metrics.json", inputs, lambda: _measure(store, run, node, done, head))
    if not store.exists(f"{node.folder}/{INDEX}"):
        _publish_index(store, node, sorted(done))
    return metrics


def _measure(store: Store, run: RunConfig, node: Node, done: Mapping[str, Done], head: Node | None) -> dict[str, Any]:
    kept: Counter[str] = Counter()
    dropped: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    failed: dict[str, Counter[str]] = {}
    scored: dict[str, list[np.ndarray]] = {"all": [], "trained": [], "held_out": []}
    changed: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    samples = 0
    for shard in sorted(done):
        known = read_truth(store, shard)
        rows = read_rows(store, node, shard)
        for kind, count in count_annotations([record.annotations for record in rows]).items():
            kept[kind] += count["kept"]
            dropped[kind].update(count["dropped"])
        samples += len(rows)
        for old, new in zip(read_rows(store, head, shard) if head else (), rows, strict=bool(head)):
            for kind, rules in tally(old.annotations, new.annotations).items():
                changed[kind].update(rules)
        for record in rows:
            for failure in record.failures:
                failed.setdefault(failure.stage, Counter())[failure.reason] += 1
            if record.key in known:
                scored["all"].append(truth.count_sample(record.annotations, known[record.key]))
                scored["held_out" if held_out(record.key, run) else "trained"].append(scored["all"][-1])
    _publish_index(store, node, sorted(done))
    return {
        "samples": samples,
        "kept": dict(kept),
        "dropped": {kind: dict(sorted(count.items())) for kind, count in dropped.items()},
        "failed": {stage: dict(sorted(reasons.items())) for stage, reasons in failed.items()},
        "changes": {kind: dict(sorted(rules.items())) for kind, rules in changed.items()} if head else None,
        "truth": {part: truth.summary(np.sum(each, axis=0)) for part, each in scored.items() if each} or None,
    }  # fmt: skip


def _once(
    store: Store, name: str, inputs: Any, make: Callable[[], dict[str, Any]], keep: bool = True
) -> dict[str, Any]:
    """What `make` gives, which depends on `inputs` alone, from file `name` where that is of the same ones."""
    mark = digest(str(VERSION), *map(str, inputs))
    if store.exists(name):
        found: dict[str, Any] = store.read_json(name)
        if found["inputs"] == mark:
            return found
    made = {"inputs": mark, **make()}
    if keep:
        store.publish_json(name, made)
    return made


def _outputs(nodes: Sequence[Node], done: Mapping[str, Done]) -> str:
    """The digest of all that `nodes` wrote and of what is known of the images."""
    return digest(
        *(done[shard][name][1] for name in (IMAGES, *(node.name for node in nodes)) for shard in sorted(done))
    )


def judge(store: Store, run: RunConfig, head: Node, nodes: Sequence[Node], done: Mapping[str, Done]) -> Verdict:
    """Whether the last of `nodes` becomes head."""
    last = nodes[-1]
    refine = [node for node in nodes if node.name in model_nodes(run, last.round)]
    inputs = (run.seed, recipe_settings(run.refine.gate), _outputs([head, *refine, last], done))
    name = f"{MEASURED}/{last.folder}/verdict.json"
    said = _once(store, name, inputs, lambda: asdict(_judge(store, run, head, refine, last, done)))
    return Verdict(said["status"], said["reason"], said["evidence"])


def _judge(
    store: Store, run: RunConfig, head: Node, refine: Sequence[Node], last: Node, done: Mapping[str, Done]
) -> Verdict:
    changes = measure(store, run, last, done, head)["changes"]
    if not any(rules.keys() - UNCHANGED for rules in changes.values()):
        return Verdict(REJECTED, "no change: every label is as it was", {"kind": "unchanged", "changes": changes})
    pairs = list(_held_out_rounds(store, run, head, last, done))
    if pairs:
        new = truth.count_samples((labels, known) for _, labels, known in pairs)
        old = truth.count_samples((labels, known) for labels, _, known in pairs)
        return _by_truth(run, new, old)
    seen = (labels for key, labels in _judged(store, head, refine, done) if held_out(key, run))
    return _by_agreement(run, merge.agreement(seen, last.round, run.refine.merge.options))


def levels(
    store: Store, run: RunConfig, head: Node, looked: Sequence[Node], done: Mapping[str, Done], *, keep: bool = True
) -> dict[str, Levels]:
    """By kind, how far the models can be trusted and how sure is sure enough, from the samples that they had not
    learned from. With `keep` they are written down for the next call."""
    rules = run.refine.merge.options
    inputs = (merge.Merge.version, recipe_settings(rules), run.refine.gate.held_out, _outputs([head, *looked], done))

    def make() -> dict[str, Any]:
        found = merge.levels(_unlearned(store, run, head, looked, done), looked[0].round, rules)
        return {"levels": {kind: asdict(each) for kind, each in found.items()}}

    said = _once(store, f"{MEASURED}/{looked[0].folder}/levels.json", inputs, make, keep)
    return {kind: Levels(**each) for kind, each in said["levels"].items()}


def _unlearned(
    store: Store, run: RunConfig, head: Node, looked: Sequence[Node], done: Mapping[str, Done]
) -> Iterator[Annotations]:
    """`_judged` of the samples that the model which looked at them has not learned from."""
    for key, labels in _judged(store, head, looked, done):
        if len(looked) > 1 or held_out(key, run):
            yield labels


def _judged(
    store: Store, head: Node, looked: Sequence[Node], done: Mapping[str, Done]
) -> Iterator[tuple[str, Annotations]]:
    """(key, the head's labels with what the model said of them) of every sample that a model looked at: with folds,
    the one of its fold."""
    for shard in sorted(done):
        before: list[Record] = read_before(store, head, shard)
        said = zip(*(read_rows(store, node, shard) for node in looked), strict=True)
        for old, rows in zip(before, said, strict=True):
            row: Row = rows[fold_of(old.key, len(looked))]
            if row.failed is None:
                yield old.key, old.annotations.overlaid(row.annotations)


def held_out(key: str, run: RunConfig) -> bool:
    """Whether a sample is kept from training, to judge rounds by: a function of its key alone."""
    return int(digest(key), 16) / 16 ** len(digest(key)) < run.refine.gate.held_out


def _by_truth(run: RunConfig, new: np.ndarray, old: np.ndarray) -> Verdict:
    gate = run.refine.gate
    compared = truth.compare(new, old, seed=run.seed)
    score = compared["score"]
    before = truth.summary(old.sum(axis=0))["score"]
    numbers = (
        f"mean F1 on {len(new)} held-out samples {before:.3f} -> {before + score.value:.3f} "
        f"(difference {score.value:+.3f}, 95% interval {score.low:+.3f} to {score.high:+.3f})"
    )
    evidence = {"kind": "truth", "samples": len(new), "differences": {k: asdict(v) for k, v in compared.items()}}
    if score.high < -gate.tolerance:
        return Verdict(REJECTED, f"worse: {numbers}", evidence)
    if score.value < gate.min_gain:
        return Verdict(REJECTED, f"no gain: {numbers}", evidence)
    return Verdict(ACCEPTED, f"better: {numbers}", evidence)


def _by_agreement(run: RunConfig, evidence: dict[str, Any]) -> Verdict:
    refound, support = evidence["refound"], evidence["support"]
    if refound is None:
        return Verdict(REJECTED, "no labels on held-out samples to judge by; raise refine.gate.held_out", evidence)
    numbers = f"the model finds {refound:.0%} of the head's held-out labels again" + (
        "" if support is None else f" and gives them {support:.2f} nats a token"
    )
    needed = run.refine.gate.min_agreement
    evidence = {"kind": "agreement", **evidence}
    if refound < needed:
        return Verdict(
            REJECTED, f"too little agreement: {numbers}, {needed:.0%} are needed (no labelled set)", evidence
        )
    return Verdict(ACCEPTED, f"agreement: {numbers} (weaker evidence, no labelled set)", evidence)


def _held_out_rounds(
    store: Store, run: RunConfig, head: Node, last: Node, done: Mapping[str, Done]
) -> Iterator[tuple[Annotations, Annotations, Annotations]]:
    """(labels before, labels after, truth) of every held-out sample with truth."""
    for shard in sorted(done):
        known = read_truth(store, shard)
        if known:
            before: list[Record] = read_rows(store, head, shard)
            for old, new in zip(before, read_rows(store, last, shard), strict=True):
                if old.key in known and held_out(old.key, run):
                    yield old.annotations, new.annotations, known[old.key]


def _publish_index(store: Store, node: Node, shards: Sequence[str]) -> None:
    tables = [read_parquet(store, index_name(node, shard)) for shard in shards]
    with store.publishing(f"{node.folder}/{INDEX}") as sink:
        pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
