"""Shapes of scenes are found, with the mistakes that a detector without weights must make."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stages.base import Sample
from stages.embedded.detect import WORLDS, Contours, ContoursConfig, background
from stages.embedded.scenes import DEMO, render
from stages.geometry import box_iou


def canvas() -> np.ndarray:
    """A grey ramp, brighter to the right."""
    ramp = np.linspace(110, 160, 192)[None, :, None]
    return np.broadcast_to(ramp, (192, 192, 3)).astype(np.uint8).copy()


def draw(
    image: np.ndarray, category: str, colour: str, centre: tuple[int, int], radius: int = 30
) -> None:
    outlines = [
        np.round(np.asarray(o) * radius + centre).astype(np.int32) for o in DEMO.shapes[category]
    ]
    cv2.fillPoly(image, outlines, DEMO.colours[colour])


@pytest.fixture(scope="module")
def stage() -> Contours:
    return Contours(ContoursConfig())


@pytest.mark.parametrize("category", list(DEMO.shapes))
def test_every_shape_of_the_world_is_named_and_boxed(stage: Contours, category: str) -> None:
    image = canvas()
    draw(image, category, "blue", (80, 100))
    (region,) = stage.detect(image)
    xs, ys = np.asarray(DEMO.shapes[category][0]).T * 30
    truth = [[80 + xs.min(), 100 + ys.min(), 80 + xs.max(), 100 + ys.max()]]
    assert region.phrase == category
    assert box_iou(np.array([region.box]), np.array(truth))[0, 0] > 0.85
    assert 0.4 < region.score <= 1


def test_touching_shapes_of_two_colours_are_told_apart_and_of_one_colour_are_not(
    stage: Contours,
) -> None:
    two, one = canvas(), canvas()
    draw(two, "block", "red", (60, 80))
    draw(two, "block", "blue", (110, 80))
    draw(one, "block", "red", (60, 80))
    draw(one, "block", "red", (110, 80))
    assert len(stage.detect(two)) == 2
    (merged,) = stage.detect(one)
    assert merged.box[2] - merged.box[0] > 90


def test_a_faint_shape_is_missed(stage: Contours) -> None:
    image = canvas()
    cv2.circle(image, (60, 60), 30, (140, 132, 128), -1)
    assert stage.detect(image) == []


def test_an_empty_image_and_a_tiny_one_have_no_regions(stage: Contours) -> None:
    assert stage.detect(canvas()) == []
    assert stage.detect(np.full((1, 1, 3), 99, np.uint8)) == []


def test_the_background_is_found_under_many_shapes() -> None:
    image = canvas().astype(np.float32)
    truth = image.copy()
    image[20:100, 20:100] = 250
    assert np.abs(background(image) - truth).max() < 6


def test_scenes_are_labelled_well_but_not_perfectly(stage: Contours) -> None:
    matched = found = there = 0
    for index in range(60):
        scene = render(DEMO, 1, index)
        sample = Sample(key="k", size=(192, 192), image=scene.image)
        (result,) = stage([sample])
        regions, truth = result.regions, scene.truth.regions
        overlap = (
            box_iou(np.array([r.box for r in regions]), np.array([t.box for t in truth])) >= 0.5
        )
        same = np.array([[r.phrase == t.phrase for t in truth] for r in regions])
        matched += int((overlap & same).any(0).sum())
        found, there = found + len(regions), there + len(truth)
    assert 0.6 < 2 * matched / (found + there) < 0.9


def test_an_unknown_world_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=f"'mars': use one of {', '.join(WORLDS)}"):
        Contours(ContoursConfig(world="mars"))
