"""Settings of a whole run: they reach the source, the graph, the trainings and the recipes."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.ingest.known_sources import settings_of
from pipeline.plan import graph
from pipeline.plan.recipe import recipe_settings
from pipeline.training.run import Training, prepare
from stages import registry


def test_the_source_renders_as_many_scenes_as_are_asked_for() -> None:
    source_class, config_class = registry.load("scenes")
    assert len(source_class(config_class(count=7)).list()) == 7


def test_the_settings_of_an_entry_change_the_graph() -> None:
    def marks(*overrides: str) -> list[str]:
        return [node.fingerprint for node in graph.round_zero(parse(compose(list(overrides))))]

    plain = marks()
    assert marks("specialists.caption.batch_size=3") != plain
    assert marks("specialists.score.after=[region_text,ocr]") != plain
    assert marks("specialists.detect={use: noisy_truth}") != plain
    # Another group is another pool of actors, whose threads are part of the recipe.
    other_group = ["specialists.caption.group=filters", "cluster.groups.filters.threads=2"]
    assert marks(*other_group)[: len(plain) - 4] != plain[: len(plain) - 4]


class NoData:
    """A training set without samples."""

    node = graph.round_zero(parse(compose([])))[-1]


def prepared(*overrides: str) -> Training:
    """The training of a round with these settings."""
    data: Any = NoData()
    return prepare(parse(compose(list(overrides))), 1, data, "labels")


def test_the_seed_of_a_run_is_that_of_its_trainings() -> None:
    assert prepared("seed=1").folder != prepared().folder
    assert prepared("refine.start=base/nowhere").folder != prepared().folder


def test_the_weight_of_human_labels_is_that_of_the_trainings() -> None:
    heavy = prepared("refine.human_weight=5")
    assert heavy.config.human_weight == 5
    assert heavy.folder != prepared().folder
    with pytest.raises(ValueError, match=r"set refine\.human_weight=5"):
        parse(compose(["train.human_weight=5"]))


def test_a_field_that_came_later_is_in_no_recipe_while_it_has_its_default() -> None:
    config_class = registry.load("noisy_truth")[1]
    later = {"zipf", "shared", "shared_seed", "systematic"}
    assert later.isdisjoint(recipe_settings(config_class()))
    assert recipe_settings(config_class(zipf=1.0))["zipf"] == 1.0
    source = parse(compose([])).source
    assert settings_of(source) == {"use": "scenes", "seed": 0}
