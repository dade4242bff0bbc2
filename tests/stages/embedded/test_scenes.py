"""The rendered domains.

Their bytes are the same every time, their truth agrees with the pixels, and they share no words.
"""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.schema import Region
from stages.embedded.domains import DEMO, PRETRAIN, SIGN, SceneDomain, palette
from stages.embedded.scene_text import SceneObject, describe_scene, spatial_relation
from stages.embedded.scenes import Scene, render, scenes

DOMAINS = [DEMO, PRETRAIN]


def decoded(region: Region) -> np.ndarray:
    assert region.mask is not None
    return coco_mask.decode({"size": list(region.mask.size), "counts": region.mask.counts}).astype(
        bool
    )


@pytest.fixture(scope="module", params=DOMAINS, ids=lambda domain: domain.name)
def domain_scenes(request: pytest.FixtureRequest) -> tuple[SceneDomain, list[Scene]]:
    return request.param, list(scenes(request.param, 7, 40))


def test_the_same_index_gives_the_same_scene_and_another_index_another() -> None:
    first, again, other = render(DEMO, 3, 5), render(DEMO, 3, 5), render(DEMO, 3, 6)
    assert np.array_equal(first.image, again.image) and first.truth == again.truth
    assert first.truth.texts[1].text != other.truth.texts[1].text


def test_boxes_are_the_tight_boxes_of_masks_that_do_not_overlap(
    domain_scenes: tuple[SceneDomain, list[Scene]],
) -> None:
    for scene in domain_scenes[1]:
        masks = [decoded(r) for r in scene.truth.regions]
        assert np.sum(masks, axis=0).max() == 1
        for region, mask in zip(scene.truth.regions, masks, strict=True):
            ys, xs = np.nonzero(mask)
            assert region.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_masked_pixels_have_the_colour_that_the_region_is_called(
    domain_scenes: tuple[SceneDomain, list[Scene]],
) -> None:
    domain, found = domain_scenes
    colours = palette(domain)
    for scene in found:
        for region in (r for r in scene.truth.regions if r.phrase != SIGN):
            assert region.brief is not None
            name = region.brief.split()[-2]
            mean = np.median(scene.image[decoded(region)], axis=0)
            nearest = min(colours, key=lambda c: float(np.abs(np.array(colours[c]) - mean).sum()))
            assert nearest == name


def test_spans_and_briefs_agree_with_the_texts(
    domain_scenes: tuple[SceneDomain, list[Scene]],
) -> None:
    for scene in domain_scenes[1]:
        texts = {t.id: t.text for t in scene.truth.texts}
        boxes = {r.box: r.brief for r in scene.truth.regions}
        assert texts["truth.t1"].startswith(texts["truth.t0"])
        for triplet in scene.truth.triplets:
            assert texts[triplet.text_id][triplet.start : triplet.end] == triplet.phrase
            assert triplet.phrase.split(" ", 1)[1] == boxes[triplet.box]


def test_regions_go_from_the_largest_visible_area_to_the_smallest(
    domain_scenes: tuple[SceneDomain, list[Scene]],
) -> None:
    for scene in domain_scenes[1]:
        areas = [int(decoded(r).sum()) for r in scene.truth.regions if r.phrase != SIGN]
        assert areas == sorted(areas, reverse=True)


def test_some_shapes_are_partly_hidden_and_some_scenes_have_signs() -> None:
    found = list(scenes(DEMO, 1, 40))
    signs = [o for s in found for o in s.truth.text_regions]
    overlaps = [s for s in found if any(v in s.truth.texts[1].text for v in ("touches",))]
    assert 10 < len(signs) < 35 and len(overlaps) >= 5
    for scene in found:
        for sign in scene.truth.text_regions:
            x1, y1, x2, y2 = sign.quad[0], sign.quad[1], sign.quad[4], sign.quad[5]
            ink = scene.image[int(y1) : int(y2), int(x1) : int(x2)].min(axis=2) < 240
            assert ink.any(axis=1).all() and ink[:, [0, -1]].any(axis=0).all()
            assert y2 - y1 >= 16 and sign.text in scene.truth.texts[1].text


def test_the_domains_share_no_word_but_the_white_sign() -> None:
    def words(domain: SceneDomain) -> set[str]:
        verbs = [word for phrase in domain.relations.values() for word in phrase.split()]
        return {*domain.shapes, *domain.colours, *domain.sizes, *verbs, *domain.sign_words} - {""}

    assert not words(DEMO) & words(PRETRAIN)
    assert not set(DEMO.colours.values()) & set(PRETRAIN.colours.values())


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ((0, 0, 9, 9), "above"),
        ((0, 50, 9, 59), "below"),
        ((40, 20, 49, 29), "beside"),
        ((5, 20, 15, 30), "overlap"),
    ],
)
def test_relation_follows_the_boxes(subject: tuple[float, ...], expected: str) -> None:
    assert spatial_relation(subject, (0.0, 20.0, 10.0, 30.0)) == expected  # type: ignore[arg-type]


def test_texts_have_an_before_a_vowel_and_relate_the_rest_to_the_largest() -> None:
    objects = [
        SceneObject(size="large", colour="red", category="ring", box=(0, 0, 50, 50)),
        SceneObject(size="", colour="orange", category="star", box=(60, 0, 90, 30)),
        SceneObject(size="small", colour="blue", category="cross", box=(0, 80, 20, 100)),
        SceneObject(size="", colour="white", category=SIGN, box=(60, 80, 90, 95)),
    ]
    texts = describe_scene(DEMO, objects, ["EXIT"])
    assert texts.brief == "A large red ring sits beside an orange star."
    assert texts.detailed == (
        f"{texts.brief} A small blue cross rests below the large red ring. A white sign reads EXIT."
    )
    assert [m.object_index for m in texts.brief_mentions] == [0, 1]
    assert [m.object_index for m in texts.detailed_mentions] == [0, 1, 2, 0, 3]
