"""Settings that have no effect beside others."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.config import effects
from pipeline.config.compose import compose
from pipeline.config.effects import LABELLED, SOURCE_LABELS, typed_names
from pipeline.config.groups import ENGINE_GROUPS
from pipeline.config.parse import parse
from pipeline.plan.graph import FILTER_GROUP, GROUNDING_TASK
from pipeline.plan.journal import INGEST
from pipeline.studies import config as studies
from pipeline.training.run import GROUP
from stages import registry
from tests.pipeline.config.warned import ENDPOINT, FOLDER, FUSED, OTHER, WEBDATASET, lines

STUDIES = [file.name for file in (resources.files("configs") / "study").iterdir()]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["experiment=refinement"],
        ["specialists=pretrained"],
        ["train=base"],
        ["train=large"],
        ["refine.rounds=0"],
        list(FOLDER),
        list(WEBDATASET),
    ],
)
def test_what_ships_gives_no_warning(overrides: list[str]) -> None:
    assert lines(*overrides) == []


def test_the_shipped_photos_give_no_warning(tmp_path: Path) -> None:
    weights = tmp_path / "yolox.onnx"
    weights.touch()
    found = lines(
        "experiment=photos", f"source.path={tmp_path}", f"specialists.detect.weights={weights}"
    )
    assert found == []


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_the_shipped_studies_give_no_warning(name: str) -> None:
    study = studies.parse(compose([f"study={name.removesuffix('.yaml')}"], "studies"))
    assert list(study.without_effect()) == []


# The setting that has no effect, and the settings beside which it has none.
PAIRS: dict[str, list[str]] = {
    "source.shard_size=9": [*WEBDATASET, "source.shard_size=9"],
    "source.limit=240": ["source.limit=240"],
    "specialists.region_text.rows=3": ["specialists.region_text.rows=3"],
    "specialists.region_text.style=photo": [
        "specialists.region_text.model=a/b",
        "specialists.region_text.style=photo",
    ],
    "specialists.say.min_score=0.5": [f"{ENDPOINT}, min_score: 0.5}}"],
    "specialists.say.image_side=9": [f"{ENDPOINT}, reads: labels, image_side: 9}}"],
    "specialists.say.backoff=3.0": [f"{ENDPOINT}, attempts: 1, backoff: 3}}"],
    "specialists.say.concurrency=99": [f"{ENDPOINT}, concurrency: 99}}"],
    "specialists.say.prompts.detailed": [
        f"{ENDPOINT}, granularities: [more_detailed], prompts: {{detailed: x, more_detailed: y}}}}"
    ],
    "specialists.find.min_box_score=0.1": [
        "specialists.find={use: grounding_dino, after: [parse], min_box_score: 0.1}"
    ],
    "filters.region.class_iou=0.3": [
        "filters.region.soft_sigma=0.5",
        "filters.region.class_iou=0.3",
    ],
    "filters.region.human_iou=0.3": ["filters.region.human_iou=0.3"],
    "filters.region.min_agreement=0.5": ["filters.region.min_agreement=0.5"],
    "filters.triplet.min_agreement=0.5": ["filters.triplet.min_agreement=0.5"],
    "filters.text.brief.min_agreement=0.5": ["filters.text.brief.min_agreement=0.5"],
    "filters.text.alt.max_objects=3": ["filters.text.alt.max_objects=3"],
    "refine.start_from=previous": ["refine.rounds=1", "refine.start_from=previous"],
    "refine.stop=never": ["refine.rounds=1", "refine.stop=never"],
    "refine.sparse.batch_size=3": ["refine.sparse.batch_size=3"],
    "refine.sparse.start=nano": ["refine.sparse.start=nano"],
    "refine.gate.tolerance=0.1": ["refine.gate.tolerance=0.1"],
    "refine.gate.held_out=0": ["refine.gate.held_out=0"],
    "refine.annotate.centre=50": ["refine.annotate.beams=3", "refine.annotate.centre=50"],
    "refine.annotate.ground=": [
        "refine.annotate.tasks=['<OD>']",
        "refine.annotate.support=['<OD>']",
        "refine.annotate.ground=[detailed]",
    ],
    "refine.annotate.same_place=0.7": [
        "refine.annotate.tasks=['<OD>']",
        "refine.annotate.same_place=0.7",
    ],
    "refine.annotate.missing=brief": ["refine.annotate.missing=[brief]"],
    "refine.merge.regions.least_precision=0.3": [
        "refine.merge.regions.add_above=-1",
        "refine.merge.regions.rename_above=-1",
        "refine.merge.regions.drop_below=-3",
        "refine.merge.regions.least_precision=0.3",
    ],
    "refine.merge.regions.reshape_iou=0.5": [
        "refine.merge.regions.reshape=0",
        "refine.merge.regions.reshape_iou=0.5",
    ],
    "refine.merge.regions.tie=both": ["refine.merge.regions.tie=both"],
    "refine.merge.texts.reshape=0.5": ["refine.merge.texts.reshape=0.5"],
    "refine.merge.texts.match_iou=0.5": ["refine.merge.texts.match_iou=0.5"],
    "refine.merge.text_regions.agree=0.5": ["refine.merge.text_regions.agree=0.5"],
    "refine.merge.triplets.agree=0.5": ["refine.merge.triplets.agree=0.5"],
    "refine.merge.text_regions: ": ["refine.merge.text_regions.drop_below=-5"],
    "train.label_smoothing=0.1": ["train.label_smoothing=0.1", "train.location_weight=0.5"],
    "train.location_spread=3.0": ["train.tasks=['<CAPTION>']", "train.location_spread=3"],
    "train.micro_batch=16": ["train.micro_batch=16"],
    "train.final_rate=0.5": ["train.warmup_steps=240", "train.final_rate=0.5"],
    "train.tasks=<OD>, ": ["train.families={image: 2}"],
    "train.families=": ["train.tasks=['<CAPTION>']", "train.families={image: 2}"],
    "train.families.region=5.0": [
        "train.tasks=['<CAPTION>','<CAPTION_TO_PHRASE_GROUNDING>']",
        "train.families={image: 1, region: 5, alignment: 1}",
    ],
    "cluster.groups.specialist: ": ["cluster.groups.specialist.gpus=1"],
    "cluster.workers=5": [
        "cluster.workers=5",
        *(
            f"cluster.groups.{name}.actors=[1,1]"
            for name in ("specialists", "filters", "refine", "ingest")
        ),
    ],
}


@pytest.mark.parametrize("start", PAIRS)
def test_a_setting_without_effect_is_one_line_that_says_what_to_change(start: str) -> None:
    found = lines(*PAIRS[start])
    (line,) = [line for line in found if line.startswith(start)]
    assert "\n" not in line and len(line) < 250
    assert "no effect" in line or "held_out" in line


def is_of_a_source(words: list[str]) -> bool:
    """Whether the words choose another source, without which the setting may be unknown."""
    return any(word.startswith("source=") for word in words)


WITH_OTHERS = [
    name for name, words in PAIRS.items() if len(words) > 1 and not is_of_a_source(words)
]


@pytest.mark.parametrize("start", WITH_OTHERS)
def test_the_setting_has_an_effect_without_the_others(start: str) -> None:
    words = PAIRS[start]
    setting = start.partition("=")[0].partition(":")[0]
    alone = [word for word in words if word.startswith(setting)]
    assert not [line for line in lines(*alone) if line.startswith(setting)]


def test_grounding_by_the_rounds_model_uses_what_the_first_questions_do_not() -> None:
    words = PAIRS["refine.annotate.ground="]
    found = lines(*words, "refine.complete=[model]")
    assert not [line for line in found if line.startswith("refine.annotate.")]


def test_sources_with_labels_give_their_settings_an_effect() -> None:
    assert lines(*WEBDATASET, "filters.text.alt.max_objects=3") == []
    coco = ("source=coco", "source.path=p", "source.captions=c.json")
    assert lines(*coco, "filters.region.human_iou=0.3") == []
    truth = (*coco, "source.annotations=truth")
    assert lines(*truth, "refine.gate.min_gain=0.3") == []
    whole = FUSED.replace("after: [detect]", "after: [detect, other]")
    behind = "specialists.region_text.after=[fused]"
    assert lines(OTHER, whole, behind, "filters.region.min_agreement=0.5") == []


def test_without_rounds_the_typed_settings_of_rounds_have_no_effect() -> None:
    typed = [
        "refine.folds=2",
        "refine.gate.min_gain=0.5",
        "train.batch_size=8",
        "cluster.groups.refine.gpus=1",
        "seed=3",
        "train=base",
    ]
    found = lines("refine.rounds=0", *typed, "refine.gate.held_out=0.1")
    for name in typed_names(typed):
        assert [line for line in found if line.startswith(f"{name}: no effect: refine.rounds=0")]
    # Round 0 is scored on held-out samples by themselves, where the source has truth.
    assert not [line for line in found if "held_out" in line]
    assert lines(*FOLDER, "refine.rounds=0", "refine.gate.held_out=0.1") != []


def test_plan_shows_the_warnings_before_anything_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING, "fld"):
        words = [f"work={tmp_path}", "source.count=3", "source.limit=9", "train.micro_batch=99"]
        assert main(["plan", *words]) == 0
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "source.limit=9",
        "train.micro_batch=99",
    ]
    assert capsys.readouterr().out.startswith("stage")


def test_the_rules_know_the_engines_groups_and_all_sources() -> None:
    assert set(ENGINE_GROUPS) == {GROUP, INGEST, FILTER_GROUP}
    assert effects.GROUNDING_TASK == GROUNDING_TASK
    assert SOURCE_LABELS.keys() | set(LABELLED) == registry.SOURCES.keys()


def test_every_field_that_the_loop_fills_in_is_one_of_its_stage() -> None:
    from pipeline.config.names import LOOP_FIELDS

    run = parse(compose([]))
    names = {field.name for field in fields(run.refine.annotate.options)}
    assert names.issuperset(LOOP_FIELDS)
    assert replace(run.refine.annotate.options, fold=1, folds=2)
