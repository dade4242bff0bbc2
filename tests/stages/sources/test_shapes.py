import numpy as np
import pytest
from pycocotools import mask as rle

from pipeline.schema import Mask
from stages.geometry import runs_of
from stages.sources.shapes import box_of, mask_of, outline_of

SIZE = (64, 48)


def pixels(mask: Mask | None) -> np.ndarray:
    assert mask is not None
    return np.asarray(rle.decode({"size": list(mask.size), "counts": mask.counts.encode()}))


@pytest.mark.parametrize(
    ("bbox", "box", "reason"),
    [
        ([1, 2, 3, 4.5], (1.0, 2.0, 4.0, 6.5), None),
        ([-3, -3, 10, 10], (-3.0, -3.0, 7.0, 7.0), None),
        ([60, 40, 30, 30], (60.0, 40.0, 90.0, 70.0), None),
        ([64, 0, 5, 5], (64.0, 0.0, 69.0, 5.0), "outside_image"),
        ([-9, 0, 5, 5], (-9.0, 0.0, -4.0, 5.0), "outside_image"),
        ([1, 1, 0, 5], (1.0, 1.0, 1.0, 6.0), "empty_box"),
        ([1, 2, 3], None, "malformed_box"),
        ([1, 2, 3, float("nan")], None, "malformed_box"),
        ([1, 2, 3, "4"], None, "malformed_box"),
        ([1, 2, 3, True], None, "malformed_box"),
        ("1,2,3,4", None, "malformed_box"),
        (None, None, "malformed_box"),
    ],
)
def test_a_box_is_xyxy_or_has_a_reason(bbox: object, box: object, reason: str | None) -> None:
    assert box_of(bbox, SIZE) == (box, reason)


def test_polygons_become_the_mask_that_coco_draws() -> None:
    polygons = [[10.0, 10.0, 30.5, 10.0, 30.5, 20.0, 10.0, 20.0], [40, 30, 50, 30, 45, 40]]
    mask = mask_of(polygons, SIZE)
    expected = rle.decode(rle.merge(rle.frPyObjects(polygons, SIZE[1], SIZE[0])))
    assert not outline_of(polygons, SIZE).is_damaged
    np.testing.assert_array_equal(pixels(mask), expected)


def test_run_lengths_are_taken_packed_and_plain() -> None:
    drawn = np.zeros((48, 64), np.uint8)
    drawn[5:30, 7:60] = drawn[40:44, 0:3] = 1
    packed = rle.encode(np.asfortranarray(drawn))["counts"].decode()
    runs = runs_of(packed)
    assert runs is not None and sum(runs) == drawn.size
    for counts in (packed, runs):
        runs_of_one = {"size": [48, 64], "counts": counts}
        assert not outline_of(runs_of_one, SIZE).is_damaged
        np.testing.assert_array_equal(pixels(mask_of(runs_of_one, SIZE)), drawn)


@pytest.mark.parametrize("seed", range(20))
def test_runs_are_those_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = (rng.random((40, 300)) < rng.choice([0.001, 0.5, 0.999])).astype(np.uint8)
    encoded = rle.encode(np.asfortranarray(drawn))
    flat = np.r_[0, drawn.T.ravel(), 1 - drawn.T.ravel()[-1]]
    edges = np.r_[0, np.flatnonzero(np.diff(flat))]
    assert runs_of(encoded["counts"].decode()) == np.diff(edges).tolist()


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5]],
        [[1, 2, 3, 4, 5, "6"]],
        [[0, 0, 1e9, 0, 1e9, 1e9]],
        [[float("inf"), 0, 1, 1, 2, 2]],
        ["not a polygon"],
        {"size": [48, 64], "counts": [1, 2]},
        {"size": [48, 64], "counts": [-5, 3077]},
        {"size": [64, 48], "counts": [3072]},
        {"size": [48, 64], "counts": "\x00\x01"},
        {"size": [48, 64], "counts": "oooooooooooooooo"},
        {"size": [48, 64]},
        "mask.png",
        7,
    ],
)
def test_a_segmentation_that_makes_no_sense_is_left_out(segmentation: object) -> None:
    assert mask_of(segmentation, SIZE) is None
    assert outline_of(segmentation, SIZE).is_damaged


@pytest.mark.parametrize("segmentation", [None, [], {}, [[]], [[], []]])
def test_no_segmentation_is_no_mask(segmentation: object) -> None:
    assert mask_of(segmentation, SIZE) is None
    assert not outline_of(segmentation, SIZE).is_damaged


def test_a_polygon_that_makes_no_sense_leaves_the_others() -> None:
    good = [10.0, 10.0, 30.5, 10.0, 30.5, 20.0, 10.0, 20.0]
    expected = mask_of([good], SIZE)
    for bad in ([1, 1], [1, 2, 3, 4], [1, 2, 3, 4, 5, "6"], "not a polygon", None):
        assert mask_of([good, bad], SIZE) == mask_of([bad, good], SIZE) == expected
        assert outline_of([good, bad], SIZE).is_damaged
    assert mask_of([good, []], SIZE) == expected and not outline_of([good, []], SIZE).is_damaged


def test_without_a_size_only_the_form_of_an_outline_is_judged() -> None:
    assert not outline_of([[0, 0, 1e9, 0, 1e9, 1e9]], None).is_damaged
    assert outline_of([[0, 0]], None).is_damaged
    assert not outline_of({"size": [48.0, 64.0], "counts": [3072]}, None).is_damaged
    assert outline_of({"size": [48, 64], "counts": [3071]}, None).is_damaged


def test_a_polygon_that_runs_to_and_fro_is_not_drawn() -> None:
    """Drawing it takes memory for every pixel along it."""
    zigzag = [value for i in range(5000) for value in (0, i % 2 * 60_000)]
    assert mask_of([zigzag], (1000, 60_000)) is None
    assert mask_of([zigzag[:10]], (1000, 60_000)) is not None


@pytest.mark.parametrize(
    "size", [(20_000_000, 20_000_000), (70_000, 10), (30_000, 30_000), (0, 5), (10**400, 1)]
)
def test_no_mask_is_made_of_a_size_that_no_image_can_have(size: tuple[int, int]) -> None:
    width, height = size
    assert mask_of([[0, 0, 9, 0, 9, 9]], size) is None
    runs = {"size": [height, width], "counts": [width * height]}
    assert mask_of(runs, size) is None


def test_numbers_that_no_float_holds_are_malformed() -> None:
    assert box_of([10**400, 1, 5, 5], SIZE) == (None, "malformed_box")
    assert mask_of([[0, 0, 9, 0, 9, 10**400]], SIZE) is None
