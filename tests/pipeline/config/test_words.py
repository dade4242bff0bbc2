"""What KEY=VALUE says: text as it stands, everything else as YAML, by the type of the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import cli
from pipeline.config import saved
from pipeline.config.compose import compose, dotlist, load
from pipeline.config.parse import parse, with_absolute_paths
from pipeline.config.words import RULE, is_text, setting_type
from pipeline.storage.store import Store
from pipeline.studies.config import StudyConfig
from pipeline.training.standalone import TrainCommandConfig
from stages import registry
from stages.dedup import DedupConfig

# What people call their folders; hydra or YAML reads each of them as something else.
NAMES = [
    "photos (2)",
    "Köln",
    "写真",
    "lr=1e-3",
    "a,b",
    "what's new",
    "run[1]",
    "#1",
    "20240131",
    "1e3",
    "1_000",
    "true",
    "null",
    "{a}",
    "a: b",
    "50%",
    "back\\slash",
    "tail\\",
    "two  spaces",
    " first",
    "-1",
    "~x",
    "2024-01-31",
    "0x10",
    "*",
    "it''s",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_folder_is_taken_as_it_stands(name: str) -> None:
    run = compose(["experiment=photos", f"source.path={name}", f"work={name}"])
    assert (run["source"]["path"], run["work"]) == (name, name)
    detector = compose(["experiment=photos", f"specialists.detect.weights={name}"])
    assert detector["specialists"]["detect"]["weights"] == name
    training = compose([f"start={name}"], "training", TrainCommandConfig)
    study = compose(["study=clean", f"data.path={name}"], "studies", StudyConfig)
    assert (training["start"], study["data"]["path"]) == (name, name)
    assert dotlist([f"model={name}", "distance=3"], DedupConfig) == {"model": name, "distance": 3}


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_name_is_read_again_as_it_was(name: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    saved.save(store, compose(["experiment=photos", f"source.path={name}", f"work={name}"]))
    again = load(tmp_path / "config.yaml", [f"specialists.detect.weights={name}"])
    assert (again["source"]["path"], again["work"]) == (name, name)
    assert again["specialists"]["detect"]["weights"] == name
    assert saved.values(store)["work"] == name


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("source.captions=null", None),
        ("source.captions='null'", "null"),
        ('source.captions="a b"', "a b"),
        ("source.captions=${source.path}/${experiment}.json", "photos/scenes.json"),
        ("source.captions=", ""),
        ("+source.captions=a b", "a b"),
        ("++source.captions=a b", "a b"),
    ],
)
def test_quotes_null_and_references_in_text(word: str, value: str | None) -> None:
    values = compose(["source=coco", "source.path=photos", word])
    assert values["source"]["captions"] == value


def test_what_is_no_text_is_a_number_a_list_or_a_map() -> None:
    values = compose(
        [
            "source.limit=3",
            "specialists.ocr=null",
            "train.stages=[[64,6]]",
            "cluster.groups.train={cpus: 1, actors: [1, 1]}",
            "filters.region.min_scores.traffic light=0.3",
            "refine.complete=[a,b]",
        ]
    )
    assert values["source"]["limit"] == 3
    assert values["specialists"]["ocr"] is None
    assert values["train"]["stages"] == [[64, 6]]
    assert values["cluster"]["groups"]["train"] == {"cpus": 1, "actors": [1, 1]}
    assert values["filters"]["region"]["min_scores"]["traffic light"] == 0.3
    assert values["refine"]["complete"] == ["a", "b"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("source.limit=Köln", "source.limit=Köln: this value is not readable; write a list as"),
        ("filters.region.min_score=1,2", "min_score=1,2: this is several values; write a list as"),
        ("train.stages=[[1", "train.stages=[[1: this value is not readable; write a list"),
        ("source=foldr", "source=foldr: no such file in configs/source; did you mean folder?"),
        ("experiment=Köln", "experiment=Köln: no such file in configs/experiment; known: demo, "),
        ("work=${no.such}", "Interpolation key 'no.such' not found full_key: work"),
    ],
)
def test_a_value_that_cannot_be_read_is_told_by_its_setting(
    word: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert "hydra" not in line


def test_the_stage_decides_what_its_setting_is_wherever_it_is_named() -> None:
    words = ["specialists.score.template=a, {}", "specialists.score.use=image_text_score"]
    for order in (words, words[::-1]):
        assert compose(order)["specialists"]["score"]["template"] == "a, {}"
    values = {"specialists": {"describe": {"use": "chat_describe"}}}
    run = registry.load("folder")[1]
    assert is_text(setting_type(run, "path", {}))
    from pipeline.config.run import RunConfig

    prompt = setting_type(RunConfig, "specialists.describe.prompts.detailed", values)
    assert is_text(prompt)
    assert setting_type(RunConfig, "specialists.describe.nosuch", values) is None


def test_the_home_folder_stands_for_a_tilde_in_words_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    (tmp_path / "yolox.onnx").touch()
    file = tmp_path / "mine.yaml"
    words = ["experiment=photos", "work=~/w", "source.path=~/photos"]
    values = compose([*words, "specialists.detect.weights=~/yolox.onnx"])
    assert values["work"] == f"{tmp_path}/w"
    assert with_absolute_paths(values, parse(values))["source"]["path"] == f"{tmp_path}/photos"
    file.write_text("start: ~/model\nnames: [~/a, b~/c]\n")
    assert load(file, []) == {"start": f"{tmp_path}/model", "names": [f"{tmp_path}/a", "b~/c"]}


@pytest.mark.parametrize(
    "words", [["run"], ["plan"], ["train"], ["study"], ["bench"], ["dedup"], ["parse"]]
)
def test_the_rule_stands_in_the_help_of_every_command_that_takes_settings(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    assert RULE in capsys.readouterr().out
