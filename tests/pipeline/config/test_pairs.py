"""Settings that have no effect beside others, and settings that name what is not there."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from pipeline.cli import main
from pipeline.config import effects
from pipeline.config.compose import compose, load
from pipeline.config.effects import LABELLED, SOURCE_LABELS, typed_names, warnings
from pipeline.config.groups import ENGINE_GROUPS
from pipeline.config.parse import parse
from pipeline.config.validation import build
from pipeline.plan.graph import FILTER_GROUP, GROUNDING_TASK
from pipeline.plan.journal import INGEST
from pipeline.studies import config as studies
from pipeline.training import standalone
from pipeline.training.run import GROUP
from stages import registry

STUDIES = [file.name for file in (resources.files("configs") / "study").iterdir()]
FOLDER = ("source=folder", "source.path=photos")
WEBDATASET = ("source=webdataset", "source.path=tars")
FUSED = "specialists.fused={use: fuse, sources: [detect, other], after: [detect]}"
OTHER = "specialists.other={use: contours}"
ENDPOINT = "specialists.say={use: endpoint_describe, endpoint: 'http://h', model: m"


def lines(*overrides: str) -> list[str]:
    """The warnings for a run with these words on the command line."""
    return warnings(parse(compose(list(overrides))), typed_names(overrides))


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
        (["refine.merge.levels.texts.add=-1"], "refine.merge.levels: the loop measures them"),
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


def test_commands_that_only_train_warn_of_their_settings() -> None:
    def trained(*overrides: str) -> list[str]:
        config = standalone.parse(compose(list(overrides), "training"))
        return list(config.without_effect(typed_names(overrides)))

    assert trained() == []
    assert trained("train.micro_batch=99")[0].startswith("train.micro_batch=99: no effect")
    (line,) = trained("cluster.groups.trian.gpus=1")
    assert line.endswith("did you mean train?")
    with pytest.raises(ValueError, match="set seed=3"):
        trained("train.seed=3")


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        (["study=backbone", "beams=3"], "beams=3: no effect"),
        (["study=backbone", "train.batch_size=3"], "train.batch_size: no effect"),
        (["study=clean", "detector={steps: 3}"], "detector="),
        (["study=clean", "rows.start.samples=3"], "rows.start.samples=3: no effect"),
        (["study=clean", "rows.tuned.samples=9999"], "rows.tuned.samples=9999: no effect"),
        (
            ["study=clean", "rows.tuned.phases.train.micro_batch=99"],
            "rows.tuned.phases.train.micro",
        ),
        (["study=zero_shot", "train.batch_size=3"], "train.batch_size: no effect"),
        (["study=clean", "start=base", "rows.tuned.start=nano", "~rows.start"], "start=base"),
    ],
)
def test_a_study_warns_of_its_settings(overrides: list[str], start: str) -> None:
    study = studies.parse(compose(overrides, "studies"))
    found = list(study.without_effect(typed_names(overrides)))
    assert [line for line in found if line.startswith(start)], found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks=['<ODD>']", "tasks: <ODD>: no such task; did you mean <OD>"),
        ("train.seed=3", "train.seed: the setting `seed` decides it"),
        ("rows.tuned.phases.train.seed=3", "rows.tuned.phases.train.seed: the setting `seed`"),
        ("rows.tuned.phases.train.stages=[[64,3]]", "set steps or stages, not both"),
    ],
)
def test_a_study_refuses_mistakes(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        studies.parse(compose(["study=clean", override], "studies"))


@pytest.mark.parametrize(
    ("bench", "values", "start"),
    [
        ("refinement", {"seeds": 5}, "seeds=5"),
        ("shards", {"ingest": False, "workers": 9}, "workers=9"),
        ("florence-training", {"baseline_batch": 1}, "baseline_batch=1"),
        ("florence-inference", {"baseline_batch": 9}, "baseline_batch=9"),
    ],
)
def test_a_bench_warns_of_its_settings(bench: str, values: dict[str, Any], start: str) -> None:
    config_class = get_type_hints(registry.resolve(registry.BENCHES[bench]))["config"]
    assert list(effects.own(build(config_class, {}, ""))) == []
    (line,) = effects.own(build(config_class, values, ""))
    assert line.startswith(f"{start}: no effect")


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
