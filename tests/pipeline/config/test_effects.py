"""No setting without effect: every field of every config class is given another value.

Then the recipe must change, or a warning must come. Where a stage runs on a CPU without weights,
its result must change, too. `ELSEWHERE` names the test that shows the effect of any other field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.settings import command_configs
from pipeline.config import effects
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import (
    ClusterConfig,
    Entry,
    GateConfig,
    GroupConfig,
    RefineConfig,
    RoundsConfig,
    RunConfig,
    SourceConfig,
    SparseConfig,
)
from pipeline.config.submission import KubeRayConfig, PodConfig, RayJobsConfig, SlurmConfig
from pipeline.ingest.known_sources import settings_of
from pipeline.plan.recipe import recipe_settings
from pipeline.refinement.rules import Thresholds
from pipeline.schema import KINDS
from pipeline.studies.config import RowConfig
from pipeline.studies.data import DataConfig
from stages import registry
from stages.base import Sample, fold_of
from stages.dedup import DedupConfig
from stages.florence.config import TrainConfig
from stages.florence.model import load
from stages.florence.refine import Refine
from stages.florence.trainer import Trainer
from tests.pipeline.config import variations
from tests.pipeline.config.elsewhere import ELSEWHERE
from tests.pipeline.config.variations import variants, with_defaults

ROOT = Path(__file__).parents[3]

# Values of fields without a default.
REQUIRED: dict[str, dict[str, Any]] = {
    "yolox": {"weights": "w.onnx"},
    "faces": {"weights": "yunet.onnx"},
    "fuse": {"sources": ("one", "two", "three")},
    "text_score_filter": {"min_score": 0.3},
    "endpoint_describe": {"endpoint": "http://h", "model": "m"},
    "florence": {"model": "nano", "folds": 2, "resolution": 64, "max_tokens": 40},
}
PROMPTS = {"detailed": "What is it?", "more_detailed": "What else?"}
# Another value where the one of `other_value` would be refused, would mean nothing, or would make
# no difference on the inputs below.
VALUES: dict[str, dict[str, Any]] = {
    "contours": {"world": "pretrain", "contrast": 60.0, "min_area": 1500},
    "compose_caption": {"style": "photo", "min_score": 0.95, "any_iou": 0.99},
    "template_describe": {
        "style": "photo",
        "min_score": 0.95,
        "any_iou": 0.99,
        "min_text_score": 0.95,
        "granularities": ("detailed", "more_detailed"),
    },
    "appearance_score": {"style": "photo", "min_score": 0.5},
    "match_ground": {"min_score": 0.5},
    "grabcut": {"min_score": 0.5, "margin": 1.0, "side": 24},
    "fuse": {"iou": 0.9, "min_score": 0.5, "sources": ("one", "two")},
    "endpoint_describe": {"prompts": PROMPTS},
    "chat_describe": {"prompts": PROMPTS},
    "image_text_score": {"template": "a {}"},
    "alt_text_score": {"template": "a {}"},
    "text_filter": {
        f"{granularity}.{field}": value
        for granularity in ("brief", "detailed", "more_detailed", "alt")
        for field, value in (("min_agreement", 0.5), ("min_object_complexity", 3))
    },
    "region_filter": {
        "min_scores": {"/star": 0.95},
        "min_agreement": 0.5,
        "human_iou": 0.95,
        "class_iou": 0.99,
        "any_iou": 0.3,
        "soft_sigma": 5.0,
        "min_side": 9.0,
    },
    "triplet_filter": {
        "min_box_scores": {"ground": 0.95},
        "min_agreement": 0.5,
        "lists": (),
        "blacklist": ("a small star",),
        "min_side": 9.0,
    },
    "florence": {
        "tasks": ("<CAPTION>",),
        "support": ("<CAPTION>",),
        "missing": ("more_detailed",),
        "resolution": 96,
        "max_tokens": 8,
        "centre": 0,
        "folds": 3,
    },
    "merge": {
        "levels": {"texts": Thresholds(refound=0.5)},
        **{f"{kind}.min_refound": 0.99 for kind in KINDS},
        **{f"{kind}.reshape": 0.9 for kind in KINDS},
        **{f"{kind}.agree": 0.2 for kind in KINDS},
        **{f"{kind}.match_iou": 0.2 for kind in KINDS},
        **{f"{kind}.same_iou": 0.05 for kind in KINDS},
        **{f"{kind}.reshape_iou": 0.1 for kind in KINDS},
        **{f"{kind}.rename_above": -5.0 for kind in ("texts", "regions")},
        **{f"{kind}.least_precision": 0.95 for kind in KINDS},
        "triplets.least_precision": 0.1,  # above 0.3 all certain ones are right here
        "texts.tie": "both",
    },
    "rapidocr": {"min_score": 0.99, "box_threshold": 0.95, "unclip": 3.0, "side": 192},
    "region_text": {"style": "photo", "min_score": 0.5},
    "noisy_truth": {
        "scenes": 5,
        "seed": 5,
        "detailed": 0.9,
        "merged": 0.9,
        "wrong_text": 0.9,
        "alt_text": 0.7,
        "zipf": 2.0,
        "shared": 0.9,
        "systematic.renamed": 0.9,
        "systematic.unseen_below": 40.0,
        "systematic.invented": 0.9,
    },
    "train": {
        "stages": ((64, 3),),
        "families": {"image": 1.0, "region": 9.0, "alignment": 1.0},
        "max_prompt_tokens": 4,
        "max_target_tokens": 6,
        "average": 0.5,
        "location_spread": 20.0,
        "location_weight": 0.25,
        "micro_batch": 2,
        "betas": (0.5, 0.98),
        "warmup_steps": 2,
        "clip": 0.01,
        "weight_decay": 0.5,
    },
}
# Fields that hold other configs, whose own fields are looked at.
HOLDERS = {"source", "specialists", "filters", "refine", "train", "cluster", "options", "name"}
HOLDERS |= {"sparse", "annotate", "merge", "gate", "groups", "data", "test", "rows"}
HOLDERS |= {"ray", "kuberay", "slurm", "rounds"}


def learned(config: TrainConfig) -> Any:
    """The weights after three small steps."""
    trainer = Trainer(config, load("nano"))
    samples = variations.scenes(4)
    for _ in range(config.steps):
        trainer.learn(samples)
    trainer.use_average()
    weights = []
    for name, parameter in trainer.florence.model.named_parameters():
        values = parameter.detach().double()
        weights.append((name, float(values.sum()), float(values.norm())))
    return weights


def annotated(config: Any) -> Any:
    """What the model of the package says of three scenes, which are in fold 0, 1 and 0 of two."""
    keys = [key for key in "abcdefgh" if fold_of(key, 2) == 0]
    keys.insert(1, next(key for key in "abcdefgh" if fold_of(key, 2) == 1))
    samples = []
    for key, sample in zip(keys, variations.scenes(3), strict=False):
        samples.append(replace(sample, key=key, round=1))
    return Refine(config)(samples)


INPUTS: dict[str, Callable[[], list[Sample]]] = {
    "contours": lambda: variations.bare(variations.scenes(6)),
    "compose_caption": variations.detected,
    "template_describe": variations.detected,
    "appearance_score": variations.detected,
    "match_ground": variations.said,
    "grabcut": variations.detected,
    "noisy_truth": lambda: variations.bare(variations.scenes(12)),
    "region_text": variations.without_candidates,
    "rapidocr": lambda: variations.bare(variations.scenes(6)),
    "fuse": variations.fused,
    "text_filter": variations.written,
    "region_filter": variations.detected,
    "triplet_filter": variations.grounded,
    "parse": variations.written,
}
RUNS: dict[str, Callable[[Any], Any]] = {"merge": variations.merged, "florence": annotated}


def result_of(use: str) -> Callable[[Any], Any] | None:
    """The function that runs a stage on its inputs; None for a stage that needs weights."""
    if use in RUNS:
        return RUNS[use]
    if use not in INPUTS:
        return None
    stage_class = registry.load(use)[0]
    samples = INPUTS[use]()
    return lambda config: stage_class(config)(samples)


def warned(config: Any) -> set[str]:
    return set(effects.own(config))


def shown_elsewhere(name: str) -> bool:
    """Whether `ELSEWHERE` has a field, with a test that is there."""
    if name not in ELSEWHERE:
        return False
    file, _, test = ELSEWHERE[name].partition("::")
    return f"def {test}(" in (ROOT / file).read_text()


def without_effect(
    use: str, config: Any, run: Callable[[Any], Any] | None, values: Mapping[str, Any]
) -> list[str]:
    """The fields of a config whose other value changes nothing and is not warned of."""
    plain = run(config) if run else None
    idle = []
    for name, varied in variants(config, values):
        if warned(varied) - warned(config) or shown_elsewhere(f"{use}.{name}"):
            continue
        changes_recipe = recipe_settings(varied) != recipe_settings(config)
        changes_result = run is None or run(varied) != plain
        if not (changes_recipe and changes_result):
            idle.append(name)
    return idle


@pytest.mark.parametrize("use", sorted(registry.STAGES))
def test_every_setting_of_a_stage_has_an_effect_or_a_warning(use: str) -> None:
    config = with_defaults(registry.load(use)[1], REQUIRED.get(use, {}))
    assert without_effect(use, config, result_of(use), VALUES.get(use, {})) == []


def test_every_setting_of_a_training_has_an_effect_or_a_warning() -> None:
    config = TrainConfig(stages=((32, 3),), warmup_steps=1, device="cpu")
    assert without_effect("train", config, learned, VALUES["train"]) == []


# What sources need beside their path.
OF_SOURCES = {"cvat": {"xml": "x"}, "labelstudio": {"tasks": "t"}}


@pytest.mark.parametrize("use", sorted(registry.SOURCES))
def test_every_setting_of_a_source_makes_it_another_source_or_is_tested_elsewhere(use: str) -> None:
    required = {} if use == "scenes" else {"path": "p", **OF_SOURCES.get(use, {})}
    config = registry.load(use)[1](**required)

    def identity(options: Any) -> object:
        return settings_of(replace(parse(compose([])).source, use=use, options=options))

    for name, varied in variants(config):
        assert identity(varied) != identity(config) or shown_elsewhere(f"{use}.{name}"), name


def config_classes() -> list[type]:
    """The config classes of the engine and of the commands beside `fld run`."""
    found: list[type] = [RunConfig, SourceConfig, Entry, RefineConfig, GateConfig, SparseConfig]
    found += [ClusterConfig, GroupConfig, RoundsConfig, RowConfig, DataConfig]
    found += [RayJobsConfig, PodConfig, KubeRayConfig, SlurmConfig]
    return [*found, *command_configs().values()]


@pytest.mark.parametrize("config_class", config_classes(), ids=lambda cls: cls.__name__)
def test_every_setting_of_the_engine_is_shown_by_a_test(config_class: Any) -> None:
    base_fields: set[str] = set()
    if config_class.__name__ == "DedupConfig":
        # They have no effect without a model (test below), and are those of every model with one.
        base_fields = {"revision", "device", "dtype", "rows"}
    for field in dataclasses.fields(config_class):
        name = f"{config_class.__name__}.{field.name}"
        if field.name in HOLDERS | base_fields and name not in ELSEWHERE:
            continue
        assert shown_elsewhere(name), name


def test_every_listed_test_is_there() -> None:
    assert [name for name in ELSEWHERE if not shown_elsewhere(name)] == []


def test_without_a_model_dedup_warns_of_its_settings() -> None:
    config = DedupConfig()
    for name in ("revision", "device", "dtype", "rows", "similarity"):
        (varied,) = [other for field, other in variants(config) if field == name]
        assert [line for line in warned(varied) if line.startswith(f"{name}=")]
        with_model = replace(varied, model="a/b")
        assert warned(with_model) == set()


def test_a_local_model_has_no_revision(tmp_path: Path) -> None:
    _, config_class = registry.load("detr")
    assert warned(config_class(model="a/b", revision="1" * 40)) == set()
    (line,) = warned(config_class(model=str(tmp_path), revision="1" * 40))
    assert line.startswith("revision=")
