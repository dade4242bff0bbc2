"""`fld settings`: the table of all settings, and parts of it."""

import json

import pytest

from pipeline.cli import main
from pipeline.config.reference import GROUPS


def names(part: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["settings", part, "--json"]) == 0
    return [setting["name"] for setting in json.loads(capsys.readouterr().out)["settings"]]


def test_without_an_argument_every_group_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    printed = capsys.readouterr().out
    for group in GROUPS:
        assert f"{group}: {GROUPS[group]}\n" in printed
    for name in ("refine.gate.held_out", "train.batch_size", "specialists.NAME.min_side"):
        part = name.replace("min_side", "min_score")
        assert part in printed


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("refine", "refine.gate.held_out"),
        ("refine.gate", "refine.gate.held_out"),
        ("source", "source.shard_size"),
        ("coco", "source.instances"),
        ("detr", "specialists.NAME.max_regions"),
        ("region_filter", "filters.NAME.min_side"),
        ("florence", "refine.annotate.beams"),
        ("merge", "refine.merge.regions.match_iou"),
        ("cluster", "cluster.groups.NAME.threads"),
        ("study", "rows.NAME.samples"),
        ("dedup", "distance"),
        ("calibrate", "--min-labels"),
        ("shards", "shard_size"),
    ],
)
def test_a_part_is_chosen_by_group_stage_or_name(
    part: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = names(part, capsys)
    assert expected in found
    if "." in expected and part in GROUPS and part != "study":
        # The settings of a release name sources, too.
        beginnings = (f"{part}.", "sources.NAME")
        assert all(name.startswith(beginnings) for name in found)


def test_a_setting_has_type_default_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "refine.gate.min_gain", "--json"]) == 0
    (setting,) = json.loads(capsys.readouterr().out)["settings"]
    del setting["meaning"]
    assert setting == {
        "group": "refine",
        "use": "",
        "name": "refine.gate.min_gain",
        "type": "float >= -1, <= 1",
        "default": 0.002,
        "required": False,
    }


def test_an_unknown_part_is_refused_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["settings", "dtr"]) == 2
    error = capsys.readouterr().err
    assert error == "fld: error: dtr: no such group, stage or source; did you mean detr?\n"
