"""What people said of held-out samples decides whether a round is accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.plan.graph import Node
from pipeline.quality import truth
from pipeline.quality.reviewed import Origin, marks
from pipeline.quality.summary import Summary, add
from pipeline.refinement.gate import PairedScores
from pipeline.refinement.people import PeopleConfig, PeopleSummary
from pipeline.rows import Record
from pipeline.schema import Annotations
from pipeline.storage.images import read_truth
from pipeline.storage.reviews import publish_reviews
from stages.base import held_out
from tests.pipeline.refinement.played import LOOSE, SCENES, Played, untrained

WHO = "ada@example.org"
SETTINGS = (*SCENES, "refine.folds=1", "refine.gate.held_out=0.5", *LOOSE)
HUMAN_GATE = "refine.gate.truth=human"


def review(loop: Played) -> dict[str, Annotations]:
    """People review the boxes of every sample and find exactly what is there."""
    said = {}
    for shard in sorted(loop.head.states):
        labels = {}
        for key, known in read_truth(loop.store, shard).items():
            found = marks(["regions"], WHO)
            for number, region in enumerate(known.regions):
                found.regions.append(Origin(f"human.regions.new-{number}", WHO).of(region))
            labels[key] = found
        publish_reviews(loop.store, shard, labels)
        said.update(labels)
    return said


def counts(records: dict[str, Record], said: dict[str, Annotations]) -> np.ndarray:
    """How the boxes of records compare with what people said, summed up: (len(METRICS), 3)."""
    pairs = []
    for key in records:
        if key in said:
            # People judge boxes and categories, and no brief texts.
            true = [replace(region, brief=None) for region in said[key].regions]
            labels = Annotations(regions=records[key].annotations.regions)
            pairs.append((labels, Annotations(regions=true)))
    return truth.count_samples(pairs).sum(axis=0)


def compared(loop: Played, head: Node, node: Node) -> PairedScores:
    """What the gate counts on all shards."""
    compare = PeopleSummary(PeopleConfig(held_out=0.5))
    total: Summary = {}
    for shard in sorted(loop.head.states):
        add(total, compare(loop.store, [head, node], shard))
    paired = PairedScores.of(total["paired"])
    assert paired is not None
    return paired


def test_people_judge_what_the_machines_alone_make_of_reviewed_samples(tmp_path: Path) -> None:
    alone = Played(tmp_path / "alone", *SETTINGS)
    said = review(Played(tmp_path / "w", *SETTINGS, HUMAN_GATE))
    loop = Played(tmp_path / "w", *SETTINGS, HUMAN_GATE)
    judges = {key: labels for key, labels in said.items() if held_out(key, 0.5)}
    assert 1 < len(judges) < len(said)
    before = counts(alone.records(alone.head.node), judges)
    for number in (1, 2):
        attempt = loop.refine(number, loop.models(number, untrained(loop)))
        paired = compared(loop, loop.head.node, attempt.node)
        assert paired.samples == len(judges)
        for key, record in loop.records(attempt.node).items():
            kept = record.annotations.kept().regions
            assert [r.box for r in kept] == [r.box for r in said[key].kept().regions]

        # Nobody has reviewed anything in the other run, and its labels are the same ones.
        alone.head = alone.refine(number, alone.models(number, untrained(alone)))
        after = counts(alone.records(alone.head.node), judges)
        assert paired.old.sum(axis=0).tolist() == before.tolist()
        assert paired.new.sum(axis=0).tolist() == after.tolist()
        if number == 1:
            # The second round changes only labels that the review has dropped, so people do not
            # judge it.
            assert before.tolist() != after.tolist()
            assert attempt.verdict.evidence["kind"] == "human"
            assert attempt.verdict.evidence["samples"] == len(judges)
            assert f" on {len(judges)} reviewed, held-out samples " in attempt.verdict.reason
        before = after
        loop.head = attempt


def test_without_a_reviewed_sample_the_verdict_says_that_people_did_not_decide(
    tmp_path: Path,
) -> None:
    loop = Played(tmp_path / "w", *SETTINGS, HUMAN_GATE)
    verdict = loop.refine(1, loop.models(1, untrained(loop))).verdict
    assert verdict.reason.startswith("no held-out sample has been reviewed")
    assert "mean F1 on " in verdict.reason
    assert verdict.evidence["kind"] == "truth"
