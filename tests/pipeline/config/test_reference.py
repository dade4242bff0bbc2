"""The reference of settings is read from the code."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from pipeline.commands.settings import command_configs
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.reference import field_meanings, select, settings
from pipeline.config.type_text import type_text

SETTINGS = settings(command_configs())


@dataclass(frozen=True, kw_only=True)
class Base:
    """A class."""

    size: int = 1
    """Size in pixels."""
    plain: int = 2
    other: int = 3  # a comment is no meaning


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    plain: int = 4
    """Said by the
    derived class."""
    names: tuple[str, ...] = field(default=())
    """Some names."""


def test_the_meaning_of_a_field_is_the_text_below_it_also_in_a_base_class() -> None:
    assert field_meanings(Derived) == {
        "size": "Size in pixels.",
        "plain": "Said by the derived class.",
        "names": "Some names.",
    }


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (Annotated[int, Field(gt=0)], "int > 0"),
        (Annotated[float, Field(ge=0, le=1)], "float >= 0, <= 1"),
        (Annotated[int, Field(gt=0)] | None, "int > 0 or null"),
        (Literal["auto", "cpu"], "auto | cpu"),
        (tuple[str, ...], "list of str"),
        (tuple[tuple[int, int], ...], "list of [int, int]"),
        (dict[str, float], "map of str to float"),
        (Mapping[str, float], "map of str to float"),
        (dict[str, Any], "map of str to any"),
    ],
)
def test_types_are_told_in_words(hint: Any, text: str) -> None:
    assert type_text(hint) == text


def test_nested_settings_have_the_defaults_of_their_place() -> None:
    limits = {setting.name: setting.default for setting in select(SETTINGS, "text_filter")}
    assert limits["filters.NAME.brief.max_objects"] != limits["filters.NAME.detailed.max_objects"]


def test_no_setting_is_listed_twice() -> None:
    listed = [(setting.group, setting.use, setting.name) for setting in SETTINGS]
    assert len(set(listed)) == len(listed)
    typed_for_train = [name for group, _, name in listed if group == "training"]
    assert "start" in typed_for_train and "train.batch_size" not in typed_for_train


def test_every_setting_of_a_run_is_listed() -> None:
    """Every field of the demo's parsed config, found by walking through it."""
    run = parse(compose([]))
    listed = {(setting.use, setting.name) for setting in SETTINGS}
    for kind, entries in (("specialists", run.specialists), ("filters", run.filters)):
        for entry in entries.values():
            for option in fields(entry.options):
                name = f"{kind}.NAME.{option.name}"
                assert any(
                    use == entry.use and f"{setting}.".startswith(f"{name}.")
                    for use, setting in listed
                ), (entry.use, name)
    for option in fields(run.train):
        # The setting `seed` of the run decides the seed of its trainings.
        assert (("", f"train.{option.name}") in listed) == (option.name != "seed")
    for option in fields(run.refine.gate):
        assert ("", f"refine.gate.{option.name}") in listed


def test_every_setting_has_a_meaning() -> None:
    missing = []
    for setting in SETTINGS:
        if not setting.meaning:
            missing.append(f"{setting.use or setting.group}: {setting.name}")
    assert not missing, "no text below the field of:\n" + "\n".join(missing)


def test_a_setting_is_found_by_its_name_on_the_command_line_and_by_its_last_word() -> None:
    typed = select(SETTINGS, "filters.mine.min_score")
    assert {(setting.use, setting.name) for setting in typed} >= {
        ("region_filter", "filters.NAME.min_score"),
        ("text_score_filter", "filters.NAME.min_score"),
    }
    assert all(setting.name == "filters.NAME.min_score" for setting in typed)
    assert {setting.use for setting in select(SETTINGS, "min_score")} >= {"region_filter", "yolox"}
    assert [setting.name for setting in select(SETTINGS, "cluster.groups.refine.gpus")] == [
        "cluster.groups.NAME.gpus"
    ]
    with pytest.raises(ValueError, match="no such group, stage or source"):
        select(SETTINGS, "filters.region.nothing")


def test_the_name_of_a_stage_in_a_recipe_stands_for_its_classes() -> None:
    assert {setting.use for setting in select(SETTINGS, "filters.region")} == {"", "region_filter"}
    (one,) = select(SETTINGS, "filters.region.min_score")
    assert (one.use, one.name) == ("region_filter", "filters.NAME.min_score")
    found = select(SETTINGS, "specialists.detect.min_score")
    assert {setting.use for setting in found} == {"detr", "yolox"}


def test_a_setting_of_one_of_several_sources_is_that_of_every_source() -> None:
    names = {(setting.name, setting.use) for setting in select(SETTINGS, "sources.web.instances")}
    assert names == {("source.instances", "coco")}
    found = select(SETTINGS, "sources.NAME")
    (several,) = (setting for setting in found if setting.name == "sources.NAME")
    assert several.meaning.startswith("Several sources by name")
