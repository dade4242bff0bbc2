"""Human labels of a share of the scenes: locked, in part held out of every training, judged by."""

from __future__ import annotations

from pathlib import Path

from pipeline.benches.refinement_runs import FinishedRun
from pipeline.benches.systematic import compared_samples, describe_rounds
from pipeline.quality.reviewed import Review
from pipeline.schema import Annotations
from pipeline.storage.images import read_given, read_truth
from pipeline.training.selection import held_out, human_keys
from tests.pipeline.refinement.played import LOOSE, SCENES, Played, untrained

SETTINGS = (
    *SCENES,
    "specialists=noisy_pair",
    "source.count=24",
    "source.shard_size=12",
    "source.human=0.5",
    "refine.gate.held_out=0.1",
    "refine.gate.held_out_human=0.5",
    "refine.gate.truth=human",
)


def people(loop: Played) -> set[str]:
    """The keys of the scenes with human labels."""
    found: set[str] = set()
    for shard in loop.head.states:
        found |= human_keys(loop.store, shard)
    return found


def test_no_training_sees_the_human_labels_that_judge(tmp_path: Path) -> None:
    sparse = ("specialists.noisy.detailed=0.5", "refine.sparse.texts=[detailed]")
    loop = Played(tmp_path, *SETTINGS, *sparse, "refine.folds=2")
    human = people(loop)
    judges = {key for key in human if held_out(key, 0.5)}
    assert 2 < len(judges) < len(human) - 2
    assert not all(held_out(key, 0.1) for key in judges)
    models = loop.models(1, untrained(loop))
    trainings = loop.trainings(1)
    last = trainings.sparse(models.refining[0])
    assert last is not None
    seen: set[str] = set()
    for training in (*trainings.refining(None).values(), last):
        for shard in training.data.counts:
            seen.update(training.data.keys(shard))
    # All other scenes are trained on, among them the rest of those with human labels.
    everything = set(loop.records(loop.head.node))
    machine = {key for key in everything - human if not held_out(key, 0.1)}
    assert seen == machine | (human - judges)


def test_the_labels_of_a_reviewed_scene_are_those_of_people_and_stay(tmp_path: Path) -> None:
    loop = Played(tmp_path, *SETTINGS, *LOOSE)
    human = people(loop)
    attempt = loop.refine(1, loop.models(1, untrained(loop)))
    truth: dict[str, Annotations] = {}
    for shard in loop.head.states:
        truth.update(read_truth(loop.store, shard))
        assert set(read_given(loop.store, shard)) <= human
    for node in (loop.head.node, attempt.node):
        for key, record in loop.records(node).items():
            kept = record.annotations.kept()
            is_locked = {label.locked for label in (*kept.regions, *kept.text_regions)}
            if key not in human:
                assert is_locked <= {False}
                continue
            assert is_locked == {True}
            said = [(region.box, region.brief) for region in kept.regions]
            assert said == [(region.box, region.brief) for region in truth[key].regions]
            assert kept.texts[0].text == truth[key].texts[0].text and kept.texts[0].parse
            review = Review.of(record.annotations)
            assert review and review.complete == {"brief", "regions", "text_regions"}
    # The gate judged by the held-out half of them.
    judges = [key for key in human if held_out(key, 0.5)]
    assert attempt.verdict.evidence["kind"] == "human"
    assert attempt.verdict.evidence["samples"] == len(judges)

    run = FinishedRun(loop.store, loop.run, [loop.head, attempt])
    compared = {sample.record.key for sample in compared_samples(run, loop.head.node)}
    assert compared == {key for key in truth if key not in human and not held_out(key, 0.1)}
    first, second = describe_rounds(run)
    assert (first["round"], second["round"]) == (0, 1)
    assert 0 < first["f1"] < 1 and first["mistakes"]["other"]["stretch"] > 0.05
    assert first["mistakes"]["noisy"].keys() == {"all", "renamed", "unseen", "invented", "stretch"}
