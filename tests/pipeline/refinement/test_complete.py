"""What a round changed gets its parses, masks and triplets anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.schema import Region, Triplet
from stages.base import fold_of
from stages.embedded.scenes import DEMO, render
from stages.embedded.segment import GrabCutConfig, grabcut
from tests.pipeline.refinement.played import (
    LOOSE,
    SCENES,
    Played,
    untrained,
)


def test_what_a_round_changed_is_complete_and_traceable(tmp_path: Path) -> None:
    masks = (
        "+specialists.segment={use: grabcut, group: specialists, after: [noisy]}",
        "refine.complete=[parse,ground,segment]",
    )
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=1", *LOOSE, *masks)
    nodes = loop.refine(1, loop.models(1, untrained(loop))).nodes
    before, after = loop.records(loop.head.node), loop.records(nodes[-1])
    changed = 0
    for key, record in after.items():
        image = render(DEMO, 0, int(key[-6:])).image
        texts = {t.id: t for t in record.annotations.texts}
        ids = {a.id for a in record.annotations.all()}
        assert {a.id for a in before[key].annotations.all()} <= ids  # nothing is lost
        kept = record.annotations.kept()
        for triplet in kept.triplets:
            assert texts[triplet.text_id].dropped is None
            assert texts[triplet.text_id].text[triplet.start : triplet.end] == triplet.phrase
        items: list[Region | Triplet] = [*kept.regions, *kept.triplets]
        for item in items:
            assert item.mask is not None or unsegmentable(image, item)
        for text in kept.texts:
            assert text.parse is not None
        for annotation in record.annotations.all():
            assert annotation.source and set(annotation.parents) <= ids
            changed += annotation.round == 1 and annotation.dropped is None
    assert changed > 10


def test_the_rounds_model_may_ground_the_new_texts_in_place_of_a_specialist(tmp_path: Path) -> None:
    by_model = (
        "refine.complete=[parse,model]",
        "refine.folds=2",
        "source.limit=6",
    )
    loop = Played(tmp_path / "w", *SCENES, *LOOSE, *by_model)
    nodes = loop.refine(1, loop.models(1, untrained(loop))).nodes
    assert [node.name for node in nodes[:6]] == [
        "1.refine_0",
        "1.refine_1",
        "1.merge",
        "1.model_0",
        "1.model_1",
        "1.parse",
    ]
    merged = loop.records(nodes[-1])
    said = [
        (fold, key, row) for fold in (0, 1) for key, row in loop.records(nodes[3 + fold]).items()
    ]
    assert all(not len(row.annotations) for fold, key, row in said if fold_of(key, 2) != fold)
    for _, key, row in said:
        texts = {t.id: t for t in merged[key].annotations.texts}
        assert not row.annotations.texts and not row.annotations.regions
        assert all(texts[t.text_id].round == 1 for t in row.annotations.triplets)


def unsegmentable(image: np.ndarray, item: Any) -> bool:
    return (item.score or 0.0) < GrabCutConfig().min_score or grabcut(
        image, item.box, GrabCutConfig()
    ) is None
