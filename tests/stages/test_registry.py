import dataclasses
from pathlib import Path

import pytest

from stages import registry

NAMES = {*registry.SOURCES, *registry.STAGES, *registry.ADDED_BY_LOOP}


@pytest.mark.parametrize("use", sorted(NAMES))
def test_every_name_leads_to_a_class_with_a_typed_frozen_config(use: str) -> None:
    cls, config = registry.load(use)
    assert dataclasses.is_dataclass(config)
    assert config.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if use not in registry.SOURCES:
        assert isinstance(cls.version, int) and isinstance(cls.reads_images, bool)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"use=rapidorc: no such stage; did you mean rapidocr\?"):
        registry.load("rapidorc")


def test_the_readme_of_stages_lists_every_stage_and_source() -> None:
    text = (Path(__file__).parents[2] / "stages/README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    listed = {row.split("`")[1] for row in rows} - {"use"}
    assert listed >= NAMES
    assert {name for name in listed if not name.endswith(".py")} == NAMES
