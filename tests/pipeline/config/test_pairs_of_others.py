"""Settings without effect in `fld train`, in studies, and in benches."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from pipeline.config import effects
from pipeline.config.compose import compose
from pipeline.config.effects import typed_names
from pipeline.config.validation import build
from pipeline.studies import config as studies
from pipeline.training import standalone
from stages import registry


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
