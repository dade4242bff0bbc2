"""Adapters on tiny random checkpoints, saved and loaded by the code that loads published ones.

One sample's result does not depend on its batch, empty cases pass, and what comes out has the right
form and place.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.schema import HUMAN, Annotations, Candidate, Region, Text, Triplet
from pipeline.storage.arrow import to_dict
from stages.base import Sample
from stages.filters.language import parse
from stages.specialists.caption import CaptionerConfig, PretrainedCaption
from stages.specialists.describe_chat import ChatDescribe, ChatDescribeConfig
from stages.specialists.detr import Detr, DetrConfig
from stages.specialists.ground import GroundingDino, GroundingDinoConfig, match, split, tokens_of
from stages.specialists.region_text import RegionText, RegionTextConfig
from stages.specialists.score import ImageTextScore, ImageTextScoreConfig
from stages.specialists.segment import Sam, SamConfig
from stages.specialists.selection import choose_candidate
from tests.stages.specialists.samples_of_sizes import SIZES, Checkpoint, samples

needs_torchvision = pytest.mark.skipif(
    find_spec("torchvision") is None, reason="an extra: torchvision"
)


def assert_batch_independent(stage: Any, batch: list[Sample]) -> list[Annotations]:
    """Runs eight samples at once and one by one; returns the former."""
    together, alone = stage(batch), [stage([sample])[0] for sample in batch]
    for a, b in zip(together, alone, strict=True):
        same(to_dict(by_place(a)), to_dict(by_place(b)))
    return together


def by_place(annotations: Annotations) -> Annotations:
    """Random detectors are equally sure of all their boxes: rounding decides which comes first."""
    return replace(annotations, regions=sorted(annotations.regions, key=lambda r: (r.id, r.box)))


def same(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, float):
        assert a == pytest.approx(b, abs=1e-4)
    else:
        assert a == b


def region(id: str = "r", **more: Any) -> Region:
    words = [Candidate(text="star", kind="phrase"), Candidate(text="red star", kind="chunk")]
    settings = {
        "id": id,
        "box": (2.0, 2.0, 40.0, 30.0),
        "phrase": "star",
        "score": 0.9,
        "candidates": words,
    }
    return Region(**{**settings, **more})


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2"])
def test_similarity_scores_every_candidate_and_takes_the_best(
    name: str, checkpoint: Checkpoint
) -> None:
    stage = ImageTextScore(ImageTextScoreConfig(model=checkpoint(name), rows=3))
    regions = [region("a"), region("b", box=(0.0, 0.0, 9.0, 9.0)), region("h", source=HUMAN)]
    for result in assert_batch_independent(stage, samples(Annotations(regions=regions))):
        assert [r.id for r in result.regions] == ["a", "b"]
        for r in result.regions:
            best = max(r.candidates, key=lambda c: c.score)
            assert (r.brief, r.brief_kind) == (best.text, best.kind)
            assert all(-1 <= c.score <= 1 for c in r.candidates)


def test_similarity_sees_the_crop(checkpoint: Checkpoint) -> None:
    stage = ImageTextScore(ImageTextScoreConfig(model=checkpoint("clip")))
    pixels = samples()[1].pixels
    a, b, c = stage.embed_images([pixels[:20], pixels[40:], pixels[:20]])
    assert np.allclose(a, c) and not np.allclose(a, b)
    assert np.linalg.norm(a) == pytest.approx(1)


def test_similarity_passes_samples_without_regions(checkpoint: Checkpoint) -> None:
    stage = ImageTextScore(ImageTextScoreConfig(model=checkpoint("clip")))
    assert [len(r) for r in stage(samples())] == [0] * len(SIZES)


def test_the_first_of_equal_candidates_is_chosen() -> None:
    chosen = choose_candidate(region(), [0.25, 0.25])
    assert (chosen.brief, chosen.brief_kind, [c.score for c in chosen.candidates]) == (
        "star",
        "phrase",
        [0.25, 0.25],
    )


@pytest.mark.parametrize("name", ["rt_detr", "d_fine", "deformable_detr", "dab_detr"])
def test_detectors_give_named_boxes_inside_the_image_best_first(
    name: str, checkpoint: Checkpoint
) -> None:
    stage = Detr(DetrConfig(model=checkpoint(name), rows=3, max_regions=7))
    batch = samples()
    for sample, result in zip(batch, assert_batch_independent(stage, batch), strict=True):
        assert len(result.regions) <= 7
        assert result.regions or min(sample.size) < 4  # of such an image most is padding
        scores = [r.score for r in result.regions]
        assert scores == sorted(scores, reverse=True)
        for r in result.regions:
            assert r.phrase in ("dog", "cat", "bus")
            assert 0 <= r.box[0] <= r.box[2] <= sample.size[0]
            assert 0 <= r.box[1] <= r.box[3] <= sample.size[1]


TEXTS = [
    "A Red  circle sits beside a blue star.",
    "a dog",
    "A dog runs. A cat sits. " * 5 + "A person sits",
]


@pytest.mark.parametrize("name", ["grounding_dino", "mm_grounding_dino"])
def test_grounding_keeps_the_characters_of_the_text(name: str, checkpoint: Checkpoint) -> None:
    config = GroundingDinoConfig(
        model=checkpoint(name), min_box_score=0, min_phrase_score=0, max_boxes=2, rows=3
    )
    texts = [
        Text(id=str(i), granularity="brief", text=text, parse=parse([text])[0])
        for i, text in enumerate(TEXTS)
    ]
    batch = samples(Annotations(texts=texts))
    for sample, result in zip(
        batch, assert_batch_independent(GroundingDino(config), batch), strict=True
    ):
        for t in result.triplets:
            assert TEXTS[int(t.text_id)][t.start : t.end] == t.phrase
            assert 0 <= t.box[0] <= t.box[2] <= sample.size[0]
            assert t.phrase_score <= t.score
        spans = {(t.text_id, t.start) for t in result.triplets}
        phrases = {(text.id, p.start) for text in texts for p in text.parse.noun_phrases}
        assert spans == phrases


def test_grounding_leaves_grounded_and_unparsed_texts_alone(checkpoint: Checkpoint) -> None:
    stage = GroundingDino(
        GroundingDinoConfig(model=checkpoint("grounding_dino"), min_phrase_score=0)
    )
    bare = Text(id="bare", granularity="brief", text="a dog")
    done = Text(id="done", granularity="brief", text="a dog", parse=parse(["a dog"])[0])
    old = Triplet(id="p", text_id="done", phrase="a dog", start=0, end=5, box=(0.0, 0.0, 9.0, 9.0))
    sample = replace(samples()[1], annotations=Annotations(texts=[bare, done], triplets=[old]))
    assert [len(r) for r in stage([sample, samples()[2]])] == [0, 0]


def test_a_long_text_is_split_at_sentences_then_at_words_and_covered_whole() -> None:
    text = "One two. Three four five. Six seven eight nine ten! Eleven"
    spans = list(split(text, lambda part: len(part.split()) <= 5))
    assert [text[a:b] for a, b in spans] == [
        "One two. Three four five. ",
        "Six seven eight nine ten! ",
        "Eleven",
    ]
    words = list(split(text, lambda part: len(part.split()) <= 4))
    assert "".join(text[a:b] for a, b in words) == text
    assert max(len(text[a:b].split()) for a, b in words) == 4
    assert list(split(text, lambda part: True)) == [(0, len(text))]


def test_tokens_of_a_phrase_are_those_that_share_its_characters() -> None:
    offsets = [(0, 0), (0, 1), (2, 5), (7, 13), (13, 14), (0, 0)]
    assert tokens_of((2, 13), offsets) == [2, 3]
    assert tokens_of((20, 25), offsets) == []


def test_boxes_of_a_phrase_pass_two_floors_and_suppression() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.1], [0.7, 0.1], [0.3, 0.2], [0.05, 0.9]])
    boxes = np.array(
        [[0, 0, 5, 5], [0, 0, 9, 9], [0, 0, 9, 9.5], [20, 20, 30, 30], [40, 40, 50, 50]], float
    )
    config = GroundingDinoConfig(min_box_score=0.3, min_phrase_score=0.1, nms_iou=0.7)
    assert match(scores, boxes, [0], config).tolist() == [1, 3, 0]


@pytest.mark.parametrize("name", ["sam", "sam_hq", pytest.param("sam2", marks=needs_torchvision)])
def test_masks_have_the_images_size_and_stay_at_their_box(
    name: str, checkpoint: Checkpoint
) -> None:
    stage = Sam(SamConfig(model=checkpoint(name), rows=2, slack=0.0))
    boxes = [(2.0, 2.0, 30.0, 25.0), (5.0, 9.0, 33.0, 40.0), (0.0, 0.0, 60.0, 50.0)]
    regions = [region(str(i), box=box) for i, box in enumerate(boxes)]
    twin = Triplet(id="p", text_id="t", phrase="a star", start=0, end=6, box=boxes[0], score=0.9)
    batch = samples(Annotations(regions=[*regions, region("low", score=0.1)], triplets=[twin]))
    found = 0
    for sample, result in zip(batch, assert_batch_independent(stage, batch), strict=True):
        for r in [*result.regions, *result.triplets]:
            mask = coco_mask.decode({"size": list(r.mask.size), "counts": r.mask.counts})
            assert mask.shape == sample.size[::-1]
            x1, y1, x2, y2 = (int(v) for v in r.box)
            assert mask.sum() == mask[y1:y2, x1:x2].sum() > 0
        assert "low" not in {r.id for r in result.regions}
        by_id = {r.id: r.mask for r in result.regions}
        assert all(t.mask == by_id["0"] for t in result.triplets)
        found += len(result.regions)
    assert found > 4


@pytest.mark.parametrize(
    ("name", "prompt"), [("blip", ""), ("blip2", ""), ("florence2", "<CAPTION>")]
)
def test_captions_are_one_brief_text_with_a_probability(
    name: str, prompt: str, checkpoint: Checkpoint
) -> None:
    stage = PretrainedCaption(
        CaptionerConfig(model=checkpoint(name), prompt=prompt, max_tokens=6, rows=3)
    )
    texts = [t for r in assert_batch_independent(stage, samples()) for t in r.texts]
    assert texts
    assert all(t.granularity == "brief" and t.text and 0 < t.score <= 1 for t in texts)


@pytest.mark.parametrize(
    "name",
    ["llava", *(pytest.param(name, marks=needs_torchvision) for name in ("qwen3_vl", "smolvlm"))],
)
def test_a_chat_model_answers_once_per_granularity_and_is_cut_off_honestly(
    name: str, checkpoint: Checkpoint
) -> None:
    known = Annotations(texts=[Text(id="t", granularity="detailed", text="A dog. It runs.")])
    batch = [*samples()[:6], *samples(known)[6:]]
    stage = ChatDescribe(ChatDescribeConfig(model=checkpoint(name), max_tokens=5, rows=3))
    for sample, result in zip(batch, assert_batch_independent(stage, batch), strict=True):
        wanted = ["more_detailed"] if sample.annotations.texts else ["detailed", "more_detailed"]
        assert [t.granularity for t in result.texts] == wanted
        for t in result.texts:
            assert t.dropped == "cut_off" and len(t.text.split()) <= 5
            assert 0 < t.score <= 1


def test_crops_are_captioned_for_region_texts(checkpoint: Checkpoint) -> None:
    stage = RegionText(RegionTextConfig(model=checkpoint("blip"), max_tokens=6, rows=3))
    bare = [region("a", candidates=[]), region("b", candidates=[], box=(0.0, 0.0, 9.0, 9.0))]
    results = assert_batch_independent(stage, samples(Annotations(regions=bare)))
    for r in (r for result in results for r in result.regions):
        assert (r.candidates[0].text, r.candidates[0].kind) == ("star", "phrase")
        assert len(r.candidates) > 1
