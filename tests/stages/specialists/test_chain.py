"""The shipped recipes end to end, in plain Python.

Every stage of configs/specialists and configs/filters runs in its order over rendered scenes, and
over photos where FLD_PHOTOS and FLD_YOLOX name some.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.config.compose import compose
from pipeline.config.order import order_of
from pipeline.config.parse import parse
from pipeline.schema import KINDS, Annotations
from stages.base import Failed, Sample
from stages.embedded.scenes import DEMO, render
from stages.registry import load

CONFIGS = Path(__file__).parents[3] / "configs"
ENTRY = ("use", "after", "group", "batch_size")


def recipe(*overrides: str) -> dict[str, Any]:
    """The stages of round 0 by name, in the order in which they run."""
    order = order_of(parse(compose(list(overrides))))
    entries = (*order.finders, *order.deciders, *order.composers, *order.filters)
    return {entry.name: load(entry.use)[0](entry.options) for entry in entries}


def added(sample: Sample, result: Annotations, node: str) -> Annotations:
    """What the worker does with a result: ids and sources for additions, revisions in place."""
    made = {"source": node, "round": sample.round}
    count = 0
    kinds: dict[str, list] = {}
    for kind in KINDS:
        kinds[kind] = []
        for item in getattr(result, kind):
            if not item.id:
                item, count = replace(item, id=f"{sample.round}.{node}.{count}", **made), count + 1
            kinds[kind].append(item)
    return sample.annotations.overlaid(Annotations(**kinds))


def chain(samples: Sequence[Sample], stages: dict[str, Any]) -> list[Sample]:
    for node, stage in stages.items():
        seen = [s if stage.reads_images else replace(s, image=None) for s in samples]
        results = stage(seen)
        assert not any(isinstance(r, Failed) for r in results)
        samples = [
            replace(s, annotations=added(s, r, node)) for s, r in zip(samples, results, strict=True)
        ]
    return list(samples)


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    return recipe()


@pytest.fixture(scope="module")
def labelled(demo: dict[str, Any]) -> list[Sample]:
    scenes = [render(DEMO, 3, i) for i in range(24)]
    return chain(
        [Sample(key=str(i), size=(192, 192), image=s.image) for i, s in enumerate(scenes)], demo
    )


def test_scenes_get_every_type_of_annotation(labelled: list[Sample]) -> None:
    counts = Counter(
        kind for s in labelled for kind in KINDS for _ in getattr(s.annotations.kept(), kind)
    )
    assert counts["texts"] == 2 * len(labelled)
    assert counts["regions"] > 2 * len(labelled)
    assert counts["triplets"] > 2 * len(labelled)
    assert counts["text_regions"] > len(labelled) / 3


def test_kept_annotations_are_complete_and_consistent(labelled: list[Sample]) -> None:
    for sample in labelled:
        kept = sample.annotations.kept()
        texts = {t.id: t for t in kept.texts}
        assert all(t.parse is not None for t in kept.texts)
        assert all(r.brief and r.phrase in r.brief and len(r.candidates) > 1 for r in kept.regions)
        for t in kept.triplets:
            assert texts[t.text_id].text[t.start : t.end] == t.phrase
            assert any(t.box == r.box and t.mask == r.mask for r in kept.regions)


def test_most_things_are_right(labelled: list[Sample]) -> None:
    """Round 0 of the demo: good enough to learn from, far from perfect."""
    truth = [render(DEMO, 3, i).truth for i in range(len(labelled))]
    said = [
        {r.brief for r in s.annotations.kept().regions} & {r.brief for r in t.regions}
        for s, t in zip(labelled, truth, strict=True)
    ]
    share = sum(map(len, said)) / sum(len(t.regions) for t in truth)
    assert 0.6 < share < 0.95
    read = [{t.text for t in s.annotations.kept().text_regions} for s in labelled]
    signs = [{t.text for t in t.text_regions} for t in truth]
    assert sum(r >= s for r, s in zip(read, signs, strict=True)) >= 0.9 * len(labelled)


def test_a_sample_is_labelled_alike_alone_and_in_a_batch(
    demo: dict[str, Any], labelled: list[Sample]
) -> None:
    bare = replace(labelled[5], annotations=Annotations())
    assert chain([bare], demo)[0].annotations == labelled[5].annotations


def test_a_second_pass_adds_nothing(demo: dict[str, Any], labelled: list[Sample]) -> None:
    detectors = ("detect", "ocr")
    rest = {node: stage for node, stage in demo.items() if node not in detectors}
    again = chain(labelled[:6], rest)
    assert [s.annotations for s in again] == [s.annotations for s in labelled[:6]]


def shipped_recipes() -> list[tuple[str, str]]:
    """(group, name) of every recipe; `embedded` is a part of two of them."""
    files = sorted((*CONFIGS.glob("specialists/*.yaml"), *CONFIGS.glob("filters/*.yaml")))
    return [(file.parent.name, file.stem) for file in files if file.stem != "embedded"]


@pytest.mark.parametrize(("group", "name"), shipped_recipes())
def test_the_settings_of_every_shipped_recipe_are_known_to_their_stages(
    group: str, name: str
) -> None:
    for node, entry in compose([f"{group}={name}"])[group].items():
        config = load(entry["use"])[1]
        known = {f.name for f in fields(config)}
        assert {*entry} - {*ENTRY} <= known, node
        assert {"use", "group"} <= {*entry}, node


def test_an_empty_image_passes_through_every_stage(demo: dict[str, Any]) -> None:
    blank = Sample(key="blank", size=(192, 192), image=np.full((192, 192, 3), 128, np.uint8))
    assert len(chain([blank], demo)[0].annotations) == 0


@pytest.mark.skipif(
    not {"FLD_PHOTOS", "FLD_YOLOX"} <= os.environ.keys(),
    reason="set FLD_PHOTOS to a folder of photos and FLD_YOLOX to a YOLOX .onnx file",
)
def test_photos_get_regions_texts_triplets_and_masks() -> None:
    files = sorted(Path(os.environ["FLD_PHOTOS"]).glob("*.jpg"))[:8]
    images = [np.asarray(Image.open(f).convert("RGB")) for f in files]
    samples = [
        Sample(key=f.stem, size=(i.shape[1], i.shape[0]), image=i)
        for f, i in zip(files, images, strict=True)
    ]
    weights = f"specialists.detect.weights={os.environ['FLD_YOLOX']}"
    stages = recipe("experiment=photos", "source.path=x", weights)
    done = [s.annotations.kept() for s in chain(samples, stages)]
    assert sum(bool(a.texts) for a in done) >= len(done) / 2
    assert sum(len(a.regions) for a in done) >= len(done)
    assert all(r.mask for a in done for r in a.regions)
    assert sum(len(a.triplets) for a in done) >= len(done)
