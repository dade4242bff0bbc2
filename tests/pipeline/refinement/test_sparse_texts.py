"""Texts that few samples have: learned apart, and written once for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.plan import graph
from pipeline.schema import Annotations
from pipeline.training.run import Training
from tests.pipeline.refinement.played import (
    OFF,
    SCENES,
    Played,
    untrained,
)
from tests.pipeline.refinement.test_loop import keys_of


def test_texts_that_few_samples_have_are_learned_and_written_for_the_others_once(
    tmp_path: Path,
) -> None:
    sparse = ("specialists.noisy.detailed=0.4", "refine.sparse.texts=[detailed]")
    loop = Played(
        tmp_path / "w", *SCENES, "refine.folds=1", "refine.gate.held_out=0", *sparse, *OFF
    )
    made: list[Training] = []

    def get(training: Training) -> str:
        made.append(training)
        return str(untrained(loop)(training))

    models = loop.models(1, get)
    given = {key for key, row in loop.records(loop.head.node).items() if detailed(row.annotations)}
    assert 2 <= len(given) <= 9
    assert (
        made[1].config.tasks == ("<DETAILED_CAPTION>",)
        and made[1].start == f"work:{made[0].folder}"
    )
    assert keys_of(made[1].data) == given
    attempt = loop.refine(1, models)
    after = loop.records(attempt.node)
    written = {
        key
        for key, row in after.items()
        if any(t.source == "sparse" for t in row.annotations.texts)
    }
    assert written == after.keys() - given
    loop.head = attempt
    missing = {key for key, row in after.items() if not detailed(row.annotations)}
    second = loop.trainings(2).sparse(models.refining[0])
    assert (second is None) == (not missing)


def detailed(annotations: Annotations) -> list[str]:
    return [t.text for t in annotations.kept().texts if t.granularity == "detailed"]


@pytest.mark.parametrize("start", ["", "nano"])
def test_sparse_texts_are_learned_from_the_rounds_model_or_another_checkpoint(
    tmp_path: Path, start: str
) -> None:
    sparse = (
        "specialists.noisy.detailed=0.5",
        "refine.sparse.texts=[detailed]",
        f"refine.sparse.start={start}",
    )
    loop = Played(tmp_path / "w", *SCENES, "source.limit=6", *sparse)
    model = graph.TrainedModel("models/01-x", "revision")
    training = loop.trainings(1).sparse(model)
    assert training is not None and training.start == (start or "work:models/01-x")
