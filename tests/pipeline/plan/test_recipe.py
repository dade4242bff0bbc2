from dataclasses import dataclass, field, fields
from pathlib import Path

from pipeline.plan.recipe import content_hash, recipe_settings, revision_of
from stages.base import CONTENT, MAY_CHANGE, NOT_RECIPE, UNIQUE, FieldRole, role_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    plain: int = 1
    weights: str = field(default="", metadata=CONTENT)
    threads: int = field(default=2, metadata=NOT_RECIPE)
    labels: str = field(default="l", metadata=MAY_CHANGE)
    key: str = field(default="k", metadata=UNIQUE)


def test_each_marker_says_one_thing_about_a_field() -> None:
    roles = {setting.name: role_of(setting) for setting in fields(Settings)}
    assert roles == {
        "plain": FieldRole(),
        "weights": FieldRole(content=True),
        "threads": FieldRole(recipe=False),
        "labels": FieldRole(identity=False),
        "key": FieldRole(unique=True),
    }


def test_a_recipe_has_the_content_of_files_and_no_setting_that_changes_nothing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "weights.onnx"
    file.write_bytes(b"weights")
    settings = Settings(weights=str(file))
    content = content_hash(str(file))
    assert content != str(file)
    expected = {"plain": 1, "weights": content, "labels": "l", "key": "k"}
    assert recipe_settings(settings) == expected
    assert recipe_settings(settings, "trained") == {**expected, "weights": "trained"}
    assert recipe_settings(Settings())["weights"] == ""
    assert revision_of(settings) == content and revision_of(Settings()) == ""
