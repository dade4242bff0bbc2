"""The task table: prompts and order as published, and build -> parse gives the labels back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.schema import (
    Annotations,
    Box,
    Granularity,
    Mask,
    Quad,
    Region,
    Text,
    TextRegion,
    Triplet,
)
from stages.embedded.scenes import DEMO, render
from stages.florence.answers import find_phrases
from stages.florence.codec import Place, Size, outlines, places
from stages.florence.polygons import polygons
from stages.florence.tasks import TASKS, Example, find_task

SIZE = (1000, 500)
WORDS = ["red car", "wheel", "two-tone dog", "a person's hat", "caf\u00e9"]


def box_of(draw: random.Random, size: Size) -> Box:
    x, y = (
        sorted(draw.uniform(0, size[0]) for _ in range(2)),
        sorted(draw.uniform(0, size[1]) for _ in range(2)),
    )
    return (x[0], y[0], x[1], y[1])


def near(points: Sequence[float], found: Sequence[float], size: Size) -> bool:
    """Within half a bin; the right and bottom edges of the image belong to the last bin."""
    return all(
        abs(a - b) <= size[i % 2] / 2000 + 1e-6
        for i, (a, b) in enumerate(zip(points, found, strict=True))
    )


def only(pairs: Sequence[Example]) -> Example:
    assert len(pairs) == 1
    return pairs[0]


def regions(*given: tuple[str, Box]) -> Annotations:
    return Annotations(
        regions=[
            Region(id=f"r{i}", phrase=p, box=b, brief=f"big {p}") for i, (p, b) in enumerate(given)
        ]
    )


def test_detection_groups_labels_alphabetically_and_boxes_by_area() -> None:
    seen = regions(
        ("wheel", (0, 0, 10, 10)),
        ("car", (0, 0, 500, 250)),
        ("wheel", (0, 0, 100, 100)),
        ("door", (0, 0, 9, 9)),
    )
    target = only(find_task("<OD>").examples(seen, SIZE)).target
    assert target == (
        "car<loc_0><loc_0><loc_500><loc_500>door<loc_0><loc_0><loc_9><loc_18>"
        "wheel<loc_0><loc_0><loc_100><loc_200><loc_0><loc_0><loc_10><loc_20>"
    )


def test_dense_captions_go_by_the_area_of_each_groups_largest_region() -> None:
    seen = regions(("wheel", (0, 0, 300, 300)), ("car", (0, 0, 400, 400)), ("wheel", (0, 0, 9, 9)))
    labels = [
        f.label
        for f in places(
            only(find_task("<DENSE_REGION_CAPTION>").examples(seen, SIZE)).target, SIZE, 4
        )
    ]
    assert labels == ["big car", "big wheel", "big wheel"]


def test_grounding_follows_the_caption_and_leaves_ungrounded_words_out() -> None:
    text = Text(id="t", granularity="brief", text="A green car in front of a building.")
    triplets = [
        Triplet(id="b", text_id="t", phrase="a building", start=24, end=34, box=(0, 0, 9, 9)),
        Triplet(id="a", text_id="t", phrase="A green car", start=0, end=11, box=(0, 0, 10, 10)),
        Triplet(id="c", text_id="other", phrase="A green car", start=0, end=11, box=(0, 0, 10, 10)),
    ]
    pair = only(
        find_task("<CAPTION_TO_PHRASE_GROUNDING>").examples(
            Annotations(texts=[text], triplets=triplets), SIZE
        )
    )
    assert pair.prompt == "Locate the phrases in the caption: A green car in front of a building."
    assert pair.target == (
        "A green car<loc_0><loc_0><loc_10><loc_20>a building<loc_0><loc_0><loc_9><loc_18>"
    )
    assert [pair.target[s:e] for s, e in pair.label_spans["b"]] == [
        "a building",
        "<loc_0><loc_0><loc_9><loc_18>",
    ]


def test_region_tasks_echo_the_box_but_only_the_label_is_judged() -> None:
    pair = only(
        find_task("<REGION_TO_CATEGORY>").examples(regions(("car", (52, 166, 932, 387))), SIZE)
    )
    place = "<loc_52><loc_332><loc_932><loc_774>"
    assert (pair.prompt, pair.target) == (f"What is the region {place}?", f"car{place}")
    assert pair.label_spans == {"r0": [(0, 3)]}


def test_open_vocabulary_detection_repeats_the_label() -> None:
    seen = regions(("wheel", (0, 0, 10, 10)), ("wheel", (0, 0, 100, 100)), ("car", (0, 0, 9, 9)))
    pairs = find_task("<OPEN_VOCABULARY_DETECTION>").examples(seen, SIZE)
    assert [p.prompt for p in pairs] == ["Locate car in the image.", "Locate wheel in the image."]
    assert pairs[1].target.count("wheel") == 2


def test_prompts_and_tokens_equal_the_released_ones() -> None:
    from transformers.models.florence2.processing_florence2 import Florence2Processor

    from stages.florence.tokenizer import make_tokenizer

    class Images:
        image_seq_length = 577

    tokenizer = make_tokenizer(["a"], 300)
    tokenizer.image_token, tokenizer.image_token_id = "<image>", 0
    released = Florence2Processor.__new__(Florence2Processor)
    with suppress(
        TypeError
    ):  # the tables are filled before the base class checks the types of its parts
        Florence2Processor.__init__(released, Images(), tokenizer)
    prompts = {**released.task_prompts_without_inputs, **released.task_prompts_with_input}
    unnamed = {
        "<REFERRING_EXPRESSION_COMPREHENSION>",
        "<VQA>",
    }  # tasks of the paper without a released token
    assert {token: t.prompt for token, t in TASKS.items() if token not in unnamed} == prompts


def random_label(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(1, 2)))


def random_quad(draw: random.Random, size: Size) -> Quad:
    x1, y1, x2, y2, x3, y3, x4, y4 = (draw.uniform(0, size[i % 2]) for i in range(8))
    return (x1, y1, x2, y2, x3, y3, x4, y4)


def random_mask(draw: random.Random, size: Size) -> Mask:
    """One or two filled boxes or triangles."""
    bitmap = np.zeros((size[1], size[0]), np.uint8)
    for _ in range(draw.randint(1, 2)):
        points = np.array([[draw.randrange(size[0]), draw.randrange(size[1])] for _ in range(3)])
        if draw.random() < 0.5:
            cv2.fillPoly(bitmap, [points], 1)
        else:
            cv2.rectangle(bitmap, points[0].tolist(), points[1].tolist(), 1, -1)
    return Mask(
        size=bitmap.shape, counts=coco_mask.encode(np.asfortranarray(bitmap))["counts"].decode()
    )


def random_annotations(draw: random.Random, size: Size, masks: bool) -> Annotations:
    def mask() -> Mask | None:
        return random_mask(draw, size) if masks else None

    regions = [
        Region(
            id=f"r{i}",
            box=box_of(draw, size),
            phrase=random_label(draw),
            mask=mask(),
            brief=draw.choice([random_label(draw), None]),
        )
        for i in range(draw.randint(1, 5))
    ]
    kinds: list[Granularity] = ["brief", "detailed", "more_detailed"]
    texts = [
        Text(id=kind, granularity=kind, text=" and ".join(draw.sample(WORDS, 4))) for kind in kinds
    ]
    triplets = []
    for i in range(draw.randint(0, 4)):
        phrase = draw.choice([word for word in WORDS if word in texts[0].text])
        start = texts[0].text.index(phrase)
        place = {"start": start, "end": start + len(phrase), "box": box_of(draw, size)}
        triplets.append(Triplet(id=f"t{i}", text_id="brief", phrase=phrase, mask=mask(), **place))
    quads = [random_quad(draw, size) for _ in range(draw.randint(0, 3))]
    words = [
        TextRegion(id=f"o{i}", quad=quad, text=random_label(draw)) for i, quad in enumerate(quads)
    ]
    return Annotations(texts, regions, words, triplets)


@cache
def drawn(masks: bool) -> list[tuple[Size, Annotations]]:
    """10,000 labelled images; those with masks are small, so that it takes seconds."""
    draw, sides = random.Random(3), (8, 60) if masks else (30, 3000)
    sizes = [(draw.randint(*sides), draw.randint(*sides)) for _ in range(10_000)]
    return [(size, random_annotations(draw, size, masks)) for size in sizes]


def expected(token: str, seen: Annotations, size: Size) -> list[Any]:
    """What the answers of all examples of a task should say, in any order.

    Each item is a text, a (label, numbers) pair, or the outlines of a mask.
    """
    briefs = [(region.brief or region.phrase, region.box) for region in seen.regions]
    grounded = Counter((t.start, t.end) for t in seen.triplets)
    single = [t for t in seen.triplets if grounded[t.start, t.end] == 1]
    uses = Counter(brief for brief, _ in briefs)
    words = [word.text for word in seen.text_regions]
    found: dict[str, list[Any]] = {
        "<OD>": [(region.phrase, region.box) for region in seen.regions],
        "<DENSE_REGION_CAPTION>": briefs,
        "<REGION_PROPOSAL>": [("", region.box) for region in seen.regions],
        "<OCR>": ["\n".join(words)] if words else [],
        "<OCR_WITH_REGION>": [(word.text, word.quad) for word in seen.text_regions],
        "<CAPTION_TO_PHRASE_GROUNDING>": [(t.phrase, t.box) for t in seen.triplets],
        "<REFERRING_EXPRESSION_SEGMENTATION>": [polygons(t.mask) for t in single if t.mask],
        "<REGION_TO_SEGMENTATION>": [
            polygons(region.mask) for region in seen.regions if region.mask
        ],
        "<OPEN_VOCABULARY_DETECTION>": [(region.phrase, region.box) for region in seen.regions],
        "<REGION_TO_CATEGORY>": [(region.phrase, region.box) for region in seen.regions],
        "<REGION_TO_DESCRIPTION>": briefs,
        "<REGION_TO_OCR>": words,
        "<REFERRING_EXPRESSION_COMPREHENSION>": [pair for pair in briefs if uses[pair[0]] == 1],
        "<VQA>": [],
    }
    texts = {
        f"<{text.granularity.upper()}_CAPTION>".replace("BRIEF_", ""): [text.text]
        for text in seen.texts
    }
    return [each for each in {**found, **texts}[token] if each]


def same(want: Any, got: Any, size: Size) -> bool:
    if isinstance(want, str):
        return bool(want == got)
    if isinstance(got, Place):
        return want[0] == got.label and near(want[1], got.points, size)
    return len(want) == len(got.polygons) and all(
        len(a) == len(b) and near(a, b, size) for a, b in zip(want, got.polygons, strict=True)
    )


@pytest.mark.parametrize("token", TASKS)
def test_targets_are_read_back_within_half_a_bin(token: str) -> None:
    for size, seen in drawn(TASKS[token].answer_kind == "polygons"):
        parsed = [
            TASKS[token].parse(f"</s><s>{p.target}</s>", size)
            for p in TASKS[token].examples(seen, size)
        ]
        got = [
            each for answer in parsed for each in ([answer] if isinstance(answer, str) else answer)
        ]
        want = expected(token, seen, size)
        assert len(got) == len(want)
        for each in want:
            match = next(i for i, other in enumerate(got) if same(each, other, size))
            del got[match]


def test_mask_targets_are_clockwise_outlines_around_the_region() -> None:
    scene = render(DEMO, 0, 3)
    size = (192, 192)
    pairs = find_task("<REGION_TO_SEGMENTATION>").examples(scene.truth, size)
    assert len(pairs) == len(scene.truth.regions)
    for pair, region in zip(pairs, scene.truth.regions, strict=True):
        points = outlines(pair.target, size)[0].polygons[0]
        xs, ys = points[0::2], points[1::2]
        shifted = [*range(1, len(xs)), 0]
        assert sum(xs[i] * ys[j] - xs[j] * ys[i] for i, j in enumerate(shifted)) > 0
        assert min(xs) >= region.box[0] - 1 and max(ys) <= region.box[3] + 1


def test_labels_with_angle_brackets_cannot_forge_locations() -> None:
    target = only(find_task("<OD>").examples(regions(("<loc_9>x", (0, 0, 10, 10))), SIZE)).target
    assert len(places(target, SIZE, 4)) == 1 and "<loc_9>" not in target.split("<loc_0>")[0]


def test_phrases_are_placed_from_left_to_right_and_unknown_ones_go() -> None:
    text = Text(id="t", granularity="brief", text="a dog and a dog near a cat")
    labels = ["a dog", "a dog", "a cow", "a cat", "a dog"]
    found = [
        Place(label, (float(i), 0.0, 9.0, 9.0), ((9 * i, 9 * i + 5),))
        for i, label in enumerate(labels)
    ]
    placed = find_phrases(text, [found[0], *found])  # the first is said twice with its box
    assert [(phrase.start, phrase.end) for phrase in placed] == [
        (0, 5),
        (10, 15),
        (21, 26),
        (10, 15),
    ]


def test_an_unknown_task_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="<ODD>: no such task; known: <CAPTION>"):
        find_task("<ODD>")
