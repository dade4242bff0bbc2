"""Systematic mistakes: where they are asked for, always, and nowhere else."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from pipeline.schema import Annotations, Region
from stages.base import Sample
from stages.embedded.boxes import scaled
from stages.embedded.domains import DEMO
from stages.embedded.mistakes_left import MistakesLeft, mistakes_left
from stages.embedded.noise import NoiseConfig, NoisyTruth, scene_of
from stages.embedded.systematic import SystematicConfig, TrueObject, true_objects
from stages.geometry import box_iou

SIZE = (192, 192)
KEYS = [f"scene_{index:06d}" for index in range(60)]
EXACT = {
    "missed": 0.0,
    "spurious": 0.0,
    "wrong_category": 0.0,
    "wrong_attribute": 0.0,
    "jitter": 0.0,
}


def config(**systematic: Any) -> NoiseConfig:
    """A specialist without random mistakes of its regions."""
    return NoiseConfig(**EXACT, systematic=SystematicConfig(**systematic))


def labels(noise: NoiseConfig) -> dict[str, Annotations]:
    results = NoisyTruth(noise)([Sample(key=key, size=SIZE) for key in KEYS])
    return {
        key: result
        for key, result in zip(KEYS, results, strict=True)
        if isinstance(result, Annotations)
    }


@cache
def objects() -> dict[str, list[TrueObject]]:
    return {key: true_objects(scene_of(key, config())) for key in KEYS}


def found(noise: NoiseConfig) -> list[tuple[TrueObject, Region | None]]:
    """Each object of the scenes with its label, which has the same box."""
    pairs = []
    for key, made in labels(noise).items():
        by_box = {region.box: region for region in made.regions}
        for true in objects()[key]:
            pairs.append((true, by_box.get(true.object.box)))
    return pairs


@pytest.mark.parametrize("when", ["always", "small", "dark", "hidden"])
def test_a_category_has_another_name_where_the_condition_holds_and_nowhere_else(when: Any) -> None:
    pairs = found(config(renamed=1.0, category="ring", called="star", when=when))
    renamed, named = 0, 0
    for true, region in pairs:
        assert region is not None
        if true.object.category == "ring" and true.meets(when, DEMO):
            assert region.phrase == "star" and (region.brief or "").endswith(" star")
            renamed += 1
        else:
            assert (region.phrase, region.brief) == (true.object.category, true.object.brief)
            named += true.object.category == "ring"
    assert renamed > 3 and (named > 3 or when == "always")


def test_the_conditions_are_what_they_are_called() -> None:
    everything = [true for scene in objects().values() for true in scene]
    small = [true for true in everything if true.meets("small", DEMO)]
    assert {true.object.size for true in small} == {"small"}
    dark = {true.object.colour for true in everything if true.meets("dark", DEMO)}
    assert dark == {"red", "blue", "purple"}
    hidden = [true for true in everything if true.meets("hidden", DEMO)]
    for true in hidden:
        assert 0 < true.hidden <= 0.55
    assert 0.1 < len(hidden) / len(everything) < 0.6


def test_what_hides_a_part_of_a_thing_lies_beside_what_is_left_of_it() -> None:
    for scene in objects().values():
        boxes = [scaled(true.object.box, 1.3, SIZE) for true in scene]
        overlap = box_iou(boxes, boxes)
        for index, true in enumerate(scene):
            others = np.delete(overlap[index], index)
            assert not true.meets("hidden", DEMO) or others.max() > 0


def test_things_below_a_size_are_never_found_and_all_others_are() -> None:
    for true, region in found(config(unseen_below=34.0)):
        assert (region is None) == (true.side < 34)


def test_boxes_are_too_large_about_the_same_centre_and_inside_the_image() -> None:
    assert scaled((50.0, 60.0, 70.0, 100.0), 1.2, SIZE) == pytest.approx((48, 56, 72, 104))
    assert scaled((0.0, 60.0, 100.0, 192.0), 1.2, SIZE) == pytest.approx((0, 46.8, 110, 192))
    exact, large = labels(config()), labels(config(enlarged=0.2))
    for key in KEYS:
        for one, other in zip(exact[key].regions, large[key].regions, strict=True):
            assert other.box == scaled(one.box, 1.2, SIZE)


def test_regions_are_invented_at_edges_at_their_rate_and_look_certain() -> None:
    exact, more = labels(config()), labels(config(invented=0.4))
    scores = []
    for key in KEYS:
        assert more[key].regions[: len(exact[key].regions)] == exact[key].regions
        for region in more[key].regions[len(exact[key].regions) :]:
            left, top, right, bottom = region.box
            assert min(left, top, 192 - right, 192 - bottom) == pytest.approx(0, abs=1e-9)
            assert 0 <= left < right <= 192 + 1e-9 and 0 <= top < bottom <= 192 + 1e-9
            scores.append(region.score or 0.0)
    assert 0.25 < len(scores) / len(KEYS) < 0.55
    assert np.mean(scores) == pytest.approx(6 / 9, abs=0.1)


def test_systematic_mistakes_leave_the_random_ones_as_they_are() -> None:
    plain = labels(NoiseConfig())
    faults = SystematicConfig(renamed=1.0, invented=0.5)
    for key, made in labels(NoiseConfig(systematic=faults)).items():
        assert (made.texts, made.text_regions) == (plain[key].texts, plain[key].text_regions)
        kept = made.regions[: len(plain[key].regions)]
        assert [r.box for r in kept] == [r.box for r in plain[key].regions]


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(ValueError, match="called=stra: no such category; choose from circle"):
        SystematicConfig(renamed=0.5, called="stra")


def test_the_mistakes_that_are_left_are_counted() -> None:
    names = {"category": "ring", "called": "star"}
    noise = config(renamed=1.0, **names, unseen_below=34.0, invented=0.4, enlarged=0.2)
    everything = [true for scene in objects().values() for true in scene]
    before = mistakes_left(noise, labels(noise))
    assert before.objects == len(everything)
    assert before.unseen == before.small == sum(true.side < 34 for true in everything) > 10
    # What is too small to be found has no name.
    assert 0 < before.renamed < before.renamable
    # Those that lie on a thing by chance are not counted.
    assert 0.1 * len(KEYS) < before.invented < 0.5 * len(KEYS)
    assert before.stretch / before.placed == pytest.approx(0.2, abs=0.02)
    after = mistakes_left(noise, labels(config()))
    mended = (after.renamed, after.unseen, after.invented, after.stretch)
    assert mended == (0, 0, 0, pytest.approx(0.0, abs=1e-6))
    assert after.renamable == before.renamable and after.placed == after.objects
    dropped = {key: Annotations() for key in KEYS}
    assert mistakes_left(noise, dropped).placed == 0
    assert mistakes_left(noise, {}) == MistakesLeft()
