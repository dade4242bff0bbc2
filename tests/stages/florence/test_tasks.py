"""The task table: prompts and order as published, and build -> parse gives the labels back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress

import pytest

from pipeline.schema import Annotations, Box, Region, Text, TextRegion, Triplet
from stages.embedded.scenes import DEMO, render
from stages.florence.answers import find_phrases
from stages.florence.codec import Found, Size, outlines, places
from stages.florence.tasks import TASKS, Pair, task

SIZE = (1000, 500)
WORDS = ["red car", "wheel", "two-tone dog", "a person's hat", "caf\u00e9"]


def box_of(draw: random.Random, size: Size) -> Box:
    x, y = (
        sorted(draw.uniform(0, size[0]) for _ in range(2)),
        sorted(draw.uniform(0, size[1]) for _ in range(2)),
    )
    return (x[0], y[0], x[1], y[1])


def random_regions(draw: random.Random, size: Size) -> list[Region]:
    return [
        Region(id=f"r{i}", box=box_of(draw, size), phrase=draw.choice(WORDS), brief=draw.choice([*WORDS, None]))
        for i in range(draw.randint(1, 6))
    ]


def near(points: Sequence[float], found: Sequence[float], size: Size) -> bool:
    """Within half a bin; the right and bottom edges of the image belong to the last bin."""
    return all(abs(a - b) <= size[i % 2] / 2000 + 1e-6 for i, (a, b) in enumerate(zip(points, found, strict=True)))


def only(pairs: Sequence[Pair]) -> Pair:
    assert len(pairs) == 1
    return pairs[0]


def regions(*given: tuple[str, Box]) -> Annotations:
    return Annotations(
        regions=[Region(id=f"r{i}", phrase=p, box=b, brief=f"big {p}") for i, (p, b) in enumerate(given)]
    )


def test_detection_groups_labels_alphabetically_and_boxes_by_area() -> None:
    seen = regions(
        ("wheel", (0, 0, 10, 10)),
        ("car", (0, 0, 500, 250)),
        ("wheel", (0, 0, 100, 100)),
        ("door", (0, 0, 9, 9)),
    )
    target = only(task("<OD>").pairs(seen, SIZE)).target
    assert target == (
        "car<loc_0><loc_0><loc_500><loc_500>door<loc_0><loc_0><loc_9><loc_18>"
        "wheel<loc_0><loc_0><loc_100><loc_200><loc_0><loc_0><loc_10><loc_20>"
    )


def test_dense_captions_go_by_the_area_of_each_groups_largest_region() -> None:
    seen = regions(("wheel", (0, 0, 300, 300)), ("car", (0, 0, 400, 400)), ("wheel", (0, 0, 9, 9)))
    labels = [f.label for f in places(only(task("<DENSE_REGION_CAPTION>").pairs(seen, SIZE)).target, SIZE, 4)]
    assert labels == ["big car", "big wheel", "big wheel"]


def test_grounding_follows_the_caption_and_leaves_ungrounded_words_out() -> None:
    text = Text(id="t", granularity="brief", text="A green car in front of a building.")
    triplets = [
        Triplet(id="b", text_id="t", phrase="a building", start=24, end=34, box=(0, 0, 9, 9)),
        Triplet(id="a", text_id="t", phrase="A green car", start=0, end=11, box=(0, 0, 10, 10)),
        Triplet(id="c", text_id="other", phrase="A green car", start=0, end=11, box=(0, 0, 10, 10)),
    ]
    pair = only(task("<CAPTION_TO_PHRASE_GROUNDING>").pairs(Annotations(texts=[text], triplets=triplets), SIZE))
    assert pair.prompt == "Locate the phrases in the caption: A green car in front of a building."
    assert pair.target == ("A green car<loc_0><loc_0><loc_10><loc_20>a building<loc_0><loc_0><loc_9><loc_18>")
    assert [pair.target[s:e] for s, e in pair.labels["b"]] == ["a building", "<loc_0><loc_0><loc_9><loc_18>"]


def test_region_tasks_echo_the_box_but_only_the_label_is_judged() -> None:
    pair = only(task("<REGION_TO_CATEGORY>").pairs(regions(("car", (52, 166, 932, 387))), SIZE))
    place = "<loc_52><loc_332><loc_932><loc_774>"
    assert (pair.prompt, pair.target) == (f"What is the region {place}?", f"car{place}")
    assert pair.labels == {"r0": [(0, 3)]}


def test_open_vocabulary_detection_repeats_the_label() -> None:
    seen = regions(("wheel", (0, 0, 10, 10)), ("wheel", (0, 0, 100, 100)), ("car", (0, 0, 9, 9)))
    pairs = task("<OPEN_VOCABULARY_DETECTION>").pairs(seen, SIZE)
    assert [p.prompt for p in pairs] == ["Locate car in the image.", "Locate wheel in the image."]
    assert pairs[1].target.count("wheel") == 2


def test_prompts_and_tokens_equal_the_released_ones() -> None:
    from transformers.models.florence2.processing_florence2 import Florence2Processor

    from stages.florence.model import make_tokenizer

    class Images:
        image_seq_length = 577

    tokenizer = make_tokenizer(["a"], 300)
    tokenizer.image_token, tokenizer.image_token_id = "<image>", 0
    released = Florence2Processor.__new__(Florence2Processor)
    with suppress(TypeError):  # the tables are filled before the base class checks the types of its parts
        Florence2Processor.__init__(released, Images(), tokenizer)
    prompts = {**released.task_prompts_without_inputs, **released.task_prompts_with_input}
    unnamed = {"<REFERRING_EXPRESSION_COMPREHENSION>", "<VQA>"}  # tasks of the paper without a released token
    assert {token: t.prompt for token, t in TASKS.items() if token not in unnamed} == prompts


@pytest.mark.parametrize("token", ["<OD>", "<DENSE_REGION_CAPTION>", "<REGION_PROPOSAL>"])
def test_region_targets_are_read_back_within_half_a_bin(token: str) -> None:
    draw = random.Random(3)
    for _ in range(10_000):
        size = (draw.randint(30, 3000), draw.randint(30, 3000))
        seen = Annotations(regions=random_regions(draw, size))
        pair = only(task(token).pairs(seen, size))
        found = places(pair.target, size, 4)
        assert len(found) == len(seen.regions)
        for region in seen.regions:
            label = {"<OD>": region.phrase, "<REGION_PROPOSAL>": ""}.get(token, region.brief or region.phrase)
            assert any(f.label == label and near(region.box, f.points, size) for f in found)


def test_sign_targets_are_read_back_within_half_a_bin() -> None:
    draw = random.Random(4)
    for _ in range(10_000):
        size = (draw.randint(30, 3000), draw.randint(30, 3000))
        quads = [tuple(draw.uniform(0, size[i % 2]) for i in range(8)) for _ in range(draw.randint(1, 4))]
        signs = [TextRegion(id=f"o{i}", quad=q, text=draw.choice(WORDS)) for i, q in enumerate(quads)]  # type: ignore[arg-type]
        found = places(only(task("<OCR_WITH_REGION>").pairs(Annotations(text_regions=signs), size)).target, size, 8)
        assert [f.label for f in found] == [s.text for s in signs]
        assert all(near(s.quad, f.points, size) for s, f in zip(signs, found, strict=True))


def test_mask_targets_are_clockwise_outlines_around_the_region() -> None:
    scene = render(DEMO, 0, 3)
    size = (192, 192)
    pairs = task("<REGION_TO_SEGMENTATION>").pairs(scene.truth, size)
    assert len(pairs) == len(scene.truth.regions)
    for pair, region in zip(pairs, scene.truth.regions, strict=True):
        points = outlines(pair.target, size)[0].polygons[0]
        xs, ys = points[0::2], points[1::2]
        shifted = [*range(1, len(xs)), 0]
        assert sum(xs[i] * ys[j] - xs[j] * ys[i] for i, j in enumerate(shifted)) > 0
        assert min(xs) >= region.box[0] - 1 and max(ys) <= region.box[3] + 1


def test_labels_with_angle_brackets_cannot_forge_locations() -> None:
    target = only(task("<OD>").pairs(regions(("<loc_9>x", (0, 0, 10, 10))), SIZE)).target
    assert len(places(target, SIZE, 4)) == 1 and "<loc_9>" not in target.split("<loc_0>")[0]


def test_phrases_are_placed_from_left_to_right_and_unknown_ones_go() -> None:
    text = Text(id="t", granularity="brief", text="a dog and a dog near a cat")
    labels = ["a dog", "a dog", "a cow", "a cat", "a dog"]
    found = [Found(label, (0.0, 0.0, 9.0, 9.0), ((9 * i, 9 * i + 5),)) for i, label in enumerate(labels)]
    placed = find_phrases(text, [found[0], *found])
    assert [(s, e) for s, e, _ in placed] == [(0, 5), (0, 5), (10, 15), (21, 26), (10, 15)]


def test_an_unknown_task_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="<ODD>: no such task; known: <CAPTION>"):
        task("<ODD>")
