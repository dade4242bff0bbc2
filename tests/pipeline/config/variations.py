"""Another value for any setting, and fixed inputs on which stages are run with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from pipeline.refinement.matching import MATCHING
from pipeline.refinement.merge import merge
from pipeline.refinement.rules import MergeConfig
from pipeline.refinement.second_look import SecondLook
from pipeline.refinement.thresholds import count_judged, curves_of, thresholds_of
from pipeline.schema import (
    HUMAN,
    Annotation,
    Annotations,
    Candidate,
    Parse,
    Region,
    Text,
    TextRegion,
    Triplet,
)
from stages.base import Sample, default_of
from stages.embedded.scenes import DEMO, render
from stages.filters.language import ParseConfig, parse

SIZE = (192, 192)


def other_value(hint: Any, value: Any) -> Any:
    """Another value of the same type as `value`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return other_value(args[0], value)
    if origin in (Union, UnionType):
        (only,) = [arg for arg in args if arg is not type(None)]
        return other_value(only, None)
    if origin is Literal:
        return next(choice for choice in args if choice != value)
    if isinstance(value, bool) or hint is bool:
        return not value
    if hint is int:
        return (value or 0) + 1
    if hint is float:
        return -0.5 if value is None else value + 0.125 if value <= 0.5 else value / 2
    if hint is str:
        return f"{value or ''}x"
    if isinstance(value, tuple):
        return value[:-1] if value else (other_value(args[0], None),)
    if isinstance(value, Mapping):
        return {**value, "x": other_value(args[1], None)}
    raise AssertionError(f"no other value for {hint}: give one")


def variants(
    config: Any, values: Mapping[str, Any] = {}, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """The name of each field of a config, also of those in it, and the config with another value.

    `values` are the other values of the fields for which `other_value` gives none that counts.
    """
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        name = f"{prefix}{field.name}"
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            for inner, changed in variants(value, values, f"{name}."):
                yield inner, replace(config, **{field.name: changed})
            continue
        other = values[name] if name in values else other_value(hints[field.name], value)
        assert other != value, name
        yield name, replace(config, **{field.name: other})


def with_defaults(config_class: Any, required: Mapping[str, Any]) -> Any:
    """A config with its defaults; `required` are values of fields that have none."""
    for field in dataclasses.fields(config_class):
        assert default_of(field) is not dataclasses.MISSING or field.name in required, field.name
    return config_class(**required)


def _parsed(granularity: Any, text_id: str, text: str, **more: Any) -> Text:
    (found,) = parse([text], ParseConfig())
    return Text(id=text_id, granularity=granularity, text=text, parse=found, **more)


def _plain(granularity: Any, text_id: str, *, objects: int, agreement: float) -> Text:
    found = Parse(
        tokens=9,
        objects=["dog"] * objects,
        attributes=[],
        actions=["runs"],
        proper_nouns=[],
        object_complexity=2,
        action_complexity=1,
        object_complexity_mean=0.0,
        action_complexity_mean=0.0,
        noun_phrases=[],
    )
    return Text(id=text_id, granularity=granularity, text="dogs", parse=found, agreement=agreement)


def scenes(count: int = 3) -> list[Sample]:
    """Rendered scenes with their truth as labels of the specialist `truth`."""
    samples = []
    for index in range(count):
        scene = render(DEMO, 0, index)
        sample = Sample(
            key=f"scene_{index:06d}", size=SIZE, annotations=scene.truth, image=scene.image
        )
        samples.append(sample)
    return samples


def bare(samples: Sequence[Sample]) -> list[Sample]:
    """The same images without labels."""
    return [replace(sample, annotations=Annotations()) for sample in samples]


def detected() -> list[Sample]:
    """Regions of all scores, which overlap and are of one or two classes; a text that is read."""
    boxes = [(10, 10, 90, 90), (14, 10, 90, 90), (30, 10, 110, 90), (100, 110, 180, 180)]
    samples = []
    for index, sample in enumerate(scenes(2)):
        regions = []
        for number, box in enumerate(boxes):
            for phrase, score in (("block", 0.9), ("star", 0.65), ("block", 0.32), ("ring", 0.1)):
                region = Region(
                    id=f"r{number}{phrase}{score}",
                    source="detect",
                    box=tuple(float(edge + index) for edge in box),
                    phrase=phrase,
                    score=score,
                    agreement=score,
                    candidates=[
                        Candidate(text=phrase, kind="phrase"),
                        Candidate(text=f"yellow {phrase}", kind="chunk"),
                        Candidate(text=f"large green {phrase}", kind="caption"),
                    ],
                )
                regions.append(region)
        thin = replace(regions[0], id="thin", phrase="sign", box=(5.0, 150.0, 65.0, 153.0))
        human = replace(regions[0], id="human", source=HUMAN, box=(28.0, 112.0, 97.0, 181.0))
        near = replace(regions[0], id="near", box=(40.0, 112.0, 97.0, 181.0))
        quad = (10.0, 100.0, 50.0, 100.0, 50.0, 120.0, 10.0, 120.0)
        words = [
            TextRegion(id=f"w{score}", source="ocr", quad=quad, text="EXIT", score=score)
            for score in (0.5, 0.65, 0.9)
        ]
        labels = Annotations(regions=[*regions, thin, human, near], text_regions=words)
        samples.append(replace(sample, annotations=labels))
    return samples


def grounded() -> list[Sample]:
    """A text with triplets of all scores."""
    text = _parsed("brief", "t", "It shows A red block and a small star.")
    triplets = []
    for number, score in enumerate((0.2, 0.3, 0.45, 0.9)):
        for phrase, side in (("A red block", 20.0), ("a small star", 3.0)):
            start = text.text.index(phrase)
            triplet = Triplet(
                id=f"p{number}{phrase}",
                source="ground",
                text_id="t",
                phrase=phrase,
                start=start,
                end=start + len(phrase),
                box=(9.0, 9.0, 9.0 + side, 9.0 + side),
                score=score,
                phrase_score=score,
                agreement=score,
            )
            triplets.append(triplet)
    certain = {"score": 0.9, "phrase_score": 0.9}
    pronoun = replace(triplets[0], id="it", phrase="It", start=0, end=2, **certain)
    labels = Annotations(texts=[text], triplets=[*triplets, pronoun])
    return [Sample(key="k", size=SIZE, annotations=labels)]


def written() -> list[Sample]:
    """Texts of each granularity around the default limits of the text filter."""
    texts = []
    for granularity, most in (("brief", 12), ("detailed", 40), ("more_detailed", 80), ("alt", 12)):
        for objects in (most, most + 1):
            text = _plain(granularity, f"{granularity}{objects}", objects=objects, agreement=0.1)
            texts.append(text)
    return [Sample(key="k", size=SIZE, annotations=Annotations(texts=texts))]


def fused() -> list[Sample]:
    """Regions of three detectors."""
    regions = []
    for number, source in enumerate(("one", "two", "three")):
        for shift, score in ((0.0, 0.9), (60.0, 0.06)):
            region = Region(
                id=f"{source}{shift}",
                source=source,
                box=(10.0 + 10 * number + shift, 10.0, 50.0 + 10 * number + shift, 50.0),
                phrase="cup",
                score=score,
            )
            regions.append(region)
    return [Sample(key="k", size=SIZE, annotations=Annotations(regions=regions))]


def without_candidates() -> list[Sample]:
    """Regions for which no text has been written."""
    samples = []
    for sample in detected():
        regions = [replace(region, candidates=[]) for region in sample.annotations.regions]
        samples.append(replace(sample, annotations=Annotations(regions=regions)))
    return samples


def said() -> list[Sample]:
    """Parsed texts and the regions that their phrases may mean."""
    samples = []
    for sample in detected():
        text = _parsed("brief", "t", "A block and a ring sit beside two stars.")
        samples.append(replace(sample, annotations=replace(sample.annotations, texts=[text])))
    return samples


def merged(config: MergeConfig) -> Any:
    """What the merge measures on random labels of all kinds, and what it then makes of them."""
    looked = _looked()
    counted = count_judged(looked, 1, config)
    measured = thresholds_of(counted, config, curves_of(counted))
    measured_config = replace(config, levels=measured)
    return measured, [merge(sample, 1, measured_config, look) for sample, look in looked]


NAMES = ("red cup", "old cup", "old mug", "red mug on a table")


@cache
def _looked() -> list[tuple[Annotations, SecondLook]]:
    """Old labels that a model has judged and found again more or less, with its second look."""
    rng = np.random.default_rng(0)
    samples = [_judged_sample(rng) for _ in range(150)]
    return [(sample, _second_look(sample, rng)) for sample in samples]


def _second_look(sample: Annotations, rng: np.random.Generator) -> SecondLook:
    """New labels again, the certain ones more often, and decoys of all old labels."""

    def is_repeated(label: Annotation) -> bool:
        return label.round == 1 and rng.random() < 1.0 + (label.support or 0.0)

    mirrored = sample.where(is_repeated)
    decoys = sample.where(lambda label: label.round == 0)
    for kind in MATCHING:
        again = getattr(mirrored, kind)
        again[:] = [_shifted(label, float(rng.normal(0.0, 2.0))) for label in again]
        old = getattr(decoys, kind)
        old[:] = [replace(label, support=-1.0 - rng.exponential(1.0)) for label in old]
    texts = frozenset(text.id for text in sample.texts)
    return SecondLook(mirrored, decoys, grounded=texts)


def _shifted(label: Any, pixels: float) -> Any:
    """A label with its box moved to the right; others stay."""
    if not hasattr(label, "box"):
        return label
    x0, y0, x1, y1 = label.box
    return replace(label, box=(x0 + pixels, y0, x1 + pixels, y1))


def _judged_sample(rng: np.random.Generator) -> Annotations:
    sample = Annotations()
    for kind in MATCHING:
        for number in range(4):
            same = number < 2 or rng.random() < 0.5
            name = str(rng.choice(NAMES))
            other = name if same else str(rng.choice(NAMES))
            corner = 40.0 * number
            shift = float(rng.choice((0.0, 0.4, 3.0, 6.0, 8.0, 14.0, 19.0)))
            sure = -float(rng.exponential(0.6))
            old = _label(kind, number, name, corner, {"support": sure, "score": 0.6})
            new_id = f"1.refine.{kind}.{number}"
            belief = -float(rng.exponential(0.5))
            new = {"id": new_id, "round": 1, "support": belief, "score": float(np.exp(belief))}
            if rng.random() < 0.8:
                getattr(sample, kind).append(old)
            if rng.random() < 0.8:
                getattr(sample, kind).append(_label(kind, number, other, corner + shift, new))
    return sample


def _label(kind: str, number: int, name: str, x: float, more: Mapping[str, Any]) -> Any:
    """A label of one kind: 20 pixels wide, from `x`."""
    known = {"id": f"0.detect.{kind}.{number}", "source": "detect", **more}
    box = (x, 0.0, x + 20, 20.0)
    if kind == "texts":
        granularities = ("brief", "detailed", "more_detailed", "alt")
        return Text(granularity=granularities[number], text=name, **known)
    if kind == "regions":
        return Region(box=box, phrase=name.split()[1], brief=name, **known)
    if kind == "text_regions":
        quad = (box[0], 0.0, box[2], 0.0, box[2], 20.0, box[0], 20.0)
        return TextRegion(quad=quad, text=name, **known)
    place = {"text_id": "0.detect.texts.0", "phrase": "cup", "start": number, "end": number + 3}
    return Triplet(box=box, **place, **known)
