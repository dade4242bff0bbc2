"""Mirroring moves pixels and boxes together and leaves out what would be wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from pipeline.schema import Text, TextRegion, Triplet
from stages.base import Sample
from stages.embedded.scenes import DEMO, render
from stages.florence.augment import mirrored

SCENE = render(DEMO, 0, 2)
SAMPLE = Sample(key="a", size=(192, 192), annotations=SCENE.truth, image=SCENE.image)


def test_a_box_still_holds_the_same_pixels() -> None:
    other = mirrored(SAMPLE)
    for before, after in zip(SAMPLE.annotations.regions, other.annotations.regions, strict=True):
        x1, y1, x2, y2 = (int(v) for v in before.box)
        u1, v1, u2, v2 = (int(v) for v in after.box)
        assert np.array_equal(SAMPLE.pixels[y1:y2, x1:x2], other.pixels[v1:v2, u1:u2][:, ::-1])


def test_a_mask_is_mirrored_with_its_box() -> None:
    other = mirrored(SAMPLE)
    pairs: list[Any] = [*zip(SAMPLE.annotations.regions, other.annotations.regions, strict=True)]
    triplets = {t.id: t for t in SAMPLE.annotations.triplets}
    pairs += [(triplets[t.id], t) for t in other.annotations.triplets]
    assert len(pairs) > len(other.annotations.regions)
    for before, after in pairs:
        assert before.mask and after.mask
        a, b = (
            coco_mask.decode({"size": m.size, "counts": m.counts})
            for m in (before.mask, after.mask)
        )
        assert np.array_equal(a[:, ::-1], b)


def test_a_letter_that_was_read_or_a_part_of_a_word_takes_no_label() -> None:
    read = [
        TextRegion(id=f"o{word}", quad=(0, 0, 9, 0, 9, 9, 0, 9), text=word) for word in ("A", "LAR")
    ]
    text = Text(id="a", granularity="brief", text="A large dog.")
    given = replace(
        SAMPLE, annotations=replace(SAMPLE.annotations, texts=[text], text_regions=read)
    )
    other = mirrored(given).annotations
    assert [t.id for t in other.texts] == ["a"] and len(other.regions) == len(
        SAMPLE.annotations.regions
    )


def test_a_sample_with_a_region_that_names_a_side_stays_as_it_is() -> None:
    first, *rest = SAMPLE.annotations.regions
    given = replace(
        SAMPLE,
        annotations=replace(SAMPLE.annotations, regions=[replace(first, brief="left shoe"), *rest]),
    )
    assert mirrored(given) is given


def test_labels_that_name_a_side_or_quote_a_sign_are_left_out() -> None:
    texts = [
        Text(id="a", granularity="brief", text="A dog to the left of a cat."),
        Text(id="b", granularity="brief", text="A sign reads Exit."),
        Text(id="c", granularity="brief", text="A bright dog near a cat."),
    ]
    triplets = [
        Triplet(id=f"p{t.id}", text_id=t.id, phrase="A", start=0, end=1, box=(0, 0, 9, 9))
        for t in texts
    ]
    sign = TextRegion(id="o", quad=(0, 0, 9, 0, 9, 9, 0, 9), text="EXIT")
    annotations = replace(SAMPLE.annotations, texts=texts, triplets=triplets, text_regions=[sign])
    other = mirrored(replace(SAMPLE, annotations=annotations)).annotations
    assert [t.id for t in other.texts] == ["c"] and [t.id for t in other.triplets] == ["pc"]
    assert not other.text_regions and other.triplets[0].box == (183, 0, 192, 9)
