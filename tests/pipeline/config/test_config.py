import dataclasses
from pathlib import Path

import pytest
import yaml

from pipeline.config import saved
from pipeline.config.compose import compose, load
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.refinement.rules import TextRules
from stages.sources.folder import FolderConfig


def parsed(*overrides: str) -> RunConfig:
    return parse(compose(list(overrides)))


def test_the_default_is_every_stage_on_scenes_with_two_rounds() -> None:
    run = parsed()
    assert (run.experiment, run.source.use, run.refine.rounds, run.refine.stop) == (
        "scenes",
        "scenes",
        2,
        "never",
    )


def test_the_demo_decides_without_truth() -> None:
    run = parsed("experiment=demo")
    assert (run.work, run.refine.rounds, run.refine.gate.truth) == ("work/demo", 1, "none")


def test_an_override_reaches_the_typed_field_of_a_stage() -> None:
    run = parsed(
        "filters.region.min_score=0.55", "source.limit=7", "cluster.groups.specialists.actors=[1,4]"
    )
    assert run.filters["region"].options.min_score == 0.55
    assert run.source.limit == 7
    assert run.cluster.group("specialists").actors == (1, 4)


def test_one_rule_of_a_kind_leaves_its_other_rules_as_they_are() -> None:
    rules = parsed("refine.merge.texts.min_refound=0.5").refine.merge.options.texts
    assert (
        rules == TextRules(min_refound=0.5, agree=1.0)
        and rules.match_iou == 1.0
        and rules.relabel_margin == 0.4
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sede=1", "sede: no such setting; did you mean seed?"),
        ("source.cuont=3", "source.cuont: no such setting; did you mean count?"),
        (
            "filters.region.min_scroe=1",
            "filters.region.min_scroe: no such setting; did you mean min_score?",
        ),
        ("refine.gate.held_uot=1", "refine.gate.held_uot: no such setting; did you mean held_out?"),
        ("cluster.groups.x.cpu=1", "cluster.groups.x.cpu: no such setting; did you mean cpus?"),
        ("train.batch_size=many", "train.batch_size=many: it must be a whole number"),
        ("filters.region.min_score=high", "filters.region.min_score=high: it must be a number"),
        (
            "filters.regiom.min_score=0.5",
            "filters.regiom: no such stage; did you mean filters.region? "
            "A new stage needs filters.regiom.use=...",
        ),
        ("specialists.x.batch_size=3", "specialists.x: no such stage; known: detect, "),
        ("refine.stop=maybe", "refine.stop=maybe: it must be 'no_gain' or 'never'"),
        ("specialists.detect.use=contour", "use=contour: no such stage; did you mean contours?"),
        (
            "specialists.caption.after=[scoer]",
            "specialists.caption.after: no stage scoer; did you mean score?",
        ),
        (
            "specialists.ocr=null",
            "specialists.describe.after: specialists.ocr=null leaves ocr out; "
            "set specialists.describe.after=[score], too",
        ),
        (
            # Its labels would be taken for those of people.
            "specialists.human={use: contours, group: specialists}",
            "specialists.human: the engine uses the name human itself; give it another name",
        ),
        (
            "filters.refine_1={use: text_filter, group: filters}",
            "filters.refine_1: the engine uses the name refine itself; give it another name",
        ),
        (
            "refine.merge.regions.least_precision=2",
            "refine.merge.regions.least_precision=2: it must be less than",
        ),
        ("source.shard_size=0", "source.shard_size=0: it must be greater than 0"),
        ("specialists.detect=3", "specialists.detect=3: give a mapping of settings"),
        (
            "refine.start=nanoo",
            "refine.start=nanoo: no such file or folder; give one, or a hub name (owner/model)",
        ),
        (
            "specialists.score.after=[]",
            "specialists.score: it reads candidate_texts, and no stage in its `after` gives any; "
            "set specialists.score.after=[region_text]",
        ),
        (
            "specialists.ground.after=[score]",
            "specialists.ground: it reads parsed_texts, and no stage in its `after` gives any; "
            "set specialists.ground.after=[score,parse]",
        ),
        ("refine.complete=[paint]", "refine.complete: paint is no specialist"),
    ],
)
def test_a_mistake_is_told_in_a_line_that_says_what_to_change(override: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parsed(override)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_experiment_is_refused() -> None:
    with pytest.raises(ValueError, match="experiment=nothing: no such file in configs/experiment"):
        parsed("experiment=nothing")


def test_a_saved_resolved_config_gives_the_same_run(tmp_path: Path) -> None:
    from pipeline.storage.store import Store

    values = compose(["seed=5", "filters.region.min_score=0.4"])
    saved.save(Store(str(tmp_path)), values)
    again = parse(load(tmp_path / "config.yaml", ["source.limit=3"]))
    expected = parse(values)
    assert dataclasses.replace(again, source=expected.source) == expected
    assert again.source.limit == 3


def test_a_saved_run_with_one_source_gets_several(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(compose(["source=folder", "source.path=photos"])))
    words = ["sources.photos.use=folder", "sources.photos.path=photos", "sources.more.use=scenes"]
    run = parse(load(file, ["source=null", *words]))
    assert {name: source.use for name, source in run.all_sources.items()} == {
        "photos": "folder",
        "more": "scenes",
    }
    with pytest.raises(ValueError, match=r"^source and sources: give one of the two"):
        parse(load(file, words))
    file.write_text(yaml.safe_dump(compose(words)))
    again = parse(load(file, ["sources.third.use=folder", "sources.third.path=1e3"]))
    assert again.sources["third"].options == FolderConfig(path="1e3")
    assert again.sources.keys() == {"photos", "more", "third"}
