"""Settings that name what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.compose import compose, load
from pipeline.config.parse import parse
from tests.pipeline.config.warned import ENDPOINT, FUSED, OTHER, lines


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["filters.region.min_scores.person=0.9"],
            "for a class write filters.region.min_scores./p",
        ),
        (["filters.region.min_scores.ocrr=0.9"], "did you mean ocr?"),
        (
            ["filters.region.min_scores={/stra: 0.9}"],
            "no detector knows the class stra; did you mean",
        ),
        (
            ["filters.region.min_scores={detect/person: 0.9}"],
            "knows the class person; known: circle",
        ),
        (
            ["filters.triplet.min_box_scores.grund=0.9"],
            "no stage has the name grund; did you mean gr",
        ),
        (["filters.triplet.min_box_scores={ground/ring: 1}"], "a triplet has no class"),
        (["filters.triplet.lists=[blaclist]"], "lists: no phrase list 'blaclist'; known: "),
        (["refine.complete=[segmnt]"], "segmnt is no specialist; did you mean segment?"),
        (
            ["refine.annotate.tasks=['<ODD>']"],
            "refine.annotate.tasks: <ODD>: no such task; did you m",
        ),
        (["refine.annotate.support=['<ODD>']"], "refine.annotate.support: <ODD>: no such task"),
        (["refine.annotate.tasks=['<VQA>']"], "refine.annotate.tasks: <VQA> makes no annotation"),
        (["refine.annotate.missing=[alt]"], "refine.annotate.missing: alt; known: brief"),
        (["refine.annotate.model=nano"], "give the checkpoint to start from as refine.start"),
        (
            ["refine.annotate.folds=2"],
            "refine.annotate.folds=2: the loop fills it in; set refine.fol",
        ),
        (
            ["refine.annotate.after=[parse]"],
            "refine.annotate.after: the loop decides what it reads",
        ),
        (
            ["refine.merge.use=parse", "refine.merge.texts=null"],
            "refine.merge.texts: no such setting",
        ),
        (["refine.merge.levels.texts.refound=1"], "refine.merge.levels: the loop measures them"),
        (["refine.gate.held_out=1"], "refine.gate.held_out=1: it must be less than 1"),
        (["specialists.ocr={}"], "specialists.ocr=null leaves the stage out"),
        (["refine.gate={}"], "adds no setting and removes none; name what to change"),
        (["source.path=p"], "source=scenes has no such setting; it is one of source=folder or web"),
        (["train.seed=3"], "train.seed: the setting `seed` decides it; set seed=3"),
        (["train.families={image: 1}", "train.tasks=['<OD>']"], "give one to region"),
        (
            [OTHER, FUSED],
            "specialists.fused.sources: it does not read other; add it to specialists.f",
        ),
        ([FUSED], "specialists.fused.sources: no stage other"),
        (
            [f"{ENDPOINT}, prompts: {{detaild: x}}}}"],
            "prompts.detaild: no such granularity; did you",
        ),
        (["specialists.score={use: image_text_score, template: a}"], "template=a: write {}"),
        (["experiment=refinement", "source.seed=4"], "set it to source.seed (4)"),
    ],
)
def test_a_name_of_what_is_not_there_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(compose(overrides))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_mapping_over_a_saved_config_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "config.yaml"
    saved.write_text("specialists: {ocr: {use: rapidocr}}")
    with pytest.raises(ValueError, match=r"specialists\.ocr=null"):
        load(saved, ["specialists.ocr={}"])


def test_a_file_of_filters_may_name_stages_of_another_set_of_specialists() -> None:
    run = parse(compose(["experiment=refinement"]))
    assert "ocr" not in run.specialists
    assert "ocr" in run.filters["region"].options.min_scores
    typed = "filters.region.min_scores.ocr=0.9"
    (line,) = lines("experiment=refinement", typed)
    assert line.startswith("filters.region.min_scores.ocr: no effect")
    assert lines(typed) == []
