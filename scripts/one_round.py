"""One round of refinement in one process, without Ray: learn, annotate, look again, merge.

A part of `scripts/on_gpu`, which runs where Ray and spaCy are not installed. The steps are those of
the loop (`pipeline/refinement/loop.py`); there are no parses and no triplets, and the gate is left
out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.quality import truth
from pipeline.refinement.merge import merge
from pipeline.refinement.rules import MergeConfig, PhraseRules, Rules
from pipeline.refinement.second_look import NO_LOOK, SecondLook
from pipeline.refinement.thresholds import count_judged, count_learned, curves_of, thresholds_of
from pipeline.schema import KINDS, Annotations
from pipeline.storage.json_types import Json
from stages.base import Failed, Result, Sample, held_out
from stages.embedded.noise import NoiseConfig, NoisyTruth
from stages.embedded.scenes import DEMO, render
from stages.florence.config import TrainConfig
from stages.florence.refine import Refine
from stages.florence.refine_config import RefineConfig
from stages.florence.training import train
from stages.florence.witness import Witness, WitnessConfig

RESOLUTION = 64  # pixels; what `nano` sees
HELD_OUT = 0.1  # share of the scenes that are not learned; thresholds are measured on these
ANNOTATED_AT_ONCE = 64  # images


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundConfig:
    """How large the round is."""

    scenes: int
    """Rendered scenes."""

    steps: int
    """Training steps of `nano`."""

    batch: int
    """Images of a step."""

    device: str
    """cpu or cuda."""


def one_round(config: RoundConfig) -> Json:
    """Run the round; the scores of the labels before and after it, and the seconds of each step."""
    clock = [time.perf_counter()]
    samples, true_labels = noisy_scenes(config.scenes)
    clock.append(time.perf_counter())
    with tempfile.TemporaryDirectory() as folder:
        metrics = learn(samples, config, Path(folder))
        clock.append(time.perf_counter())
        judged = annotate(samples, folder)
        clock.append(time.perf_counter())
        looks = look_again(samples, folder)
    clock.append(time.perf_counter())
    merged = merge_all(judged, looks)
    clock.append(time.perf_counter())
    names = ("render", "train", "annotate", "look_again", "merge")
    spent = {name: round(clock[i + 1] - clock[i], 1) for i, name in enumerate(names)}
    after = scores(merged, true_labels)
    return {
        "scenes": config.scenes,
        "steps": config.steps,
        "loss": metrics["loss"],
        "seconds_by_step": spent,
        "annotated_per_second": round(config.scenes / (clock[3] - clock[2]), 1),
        "looked_again": len(looks),
        "before": scores(samples, true_labels),
        "after": after,
        "f1": after["f1"],
    }


def learn(samples: Sequence[Sample], config: RoundConfig, out: Path) -> Json:
    """Train `nano` on all samples but the held-out ones, as `experiment=refinement` does."""
    learned = [sample for sample in samples if not held_out(sample.key, HELD_OUT)]

    def batches(first: int) -> Iterator[Sequence[Sample]]:
        for step in range(first, config.steps):
            draw = np.random.default_rng([0, step])
            chosen = draw.choice(len(learned), config.batch, replace=False)
            yield [learned[i] for i in chosen]

    settings = TrainConfig(
        stages=((RESOLUTION, config.steps),),
        batch_size=config.batch,
        mirror=True,
        location_spread=10,
        location_weight=0.5,
        device="cuda" if config.device == "cuda" else "cpu",
    )
    return dict(train(settings, "nano", batches, out))


def with_ids(sample: Sample, result: Result, stage: str) -> Annotations:
    """The annotations of a sample with what a stage has added or revised."""
    assert not isinstance(result, Failed)
    kinds: dict[str, list[Any]] = {}
    count = 0
    for kind in KINDS:
        kinds[kind] = []
        for item in getattr(result, kind):
            if not item.id:
                name = f"{sample.round}.{stage}.{count}"
                item = replace(item, id=name, source=item.source or stage, round=sample.round)
                count += 1
            kinds[kind].append(item)
    return sample.annotations.overlaid(Annotations(**kinds))


def noisy_scenes(count: int) -> tuple[list[Sample], list[Annotations]]:
    """Rendered scenes with labels that have known mistakes, and their true labels."""
    specialist = NoisyTruth(NoiseConfig())
    samples = []
    true_labels = []
    for i in range(count):
        scene = render(DEMO, 0, i)
        height, width = scene.image.shape[:2]
        sample = Sample(key=f"scene_{i:06d}", size=(width, height), image=scene.image)
        (result,) = specialist([sample])
        samples.append(replace(sample, annotations=with_ids(sample, result, "noisy")))
        true_labels.append(scene.truth)
    return samples, true_labels


def scores(samples: Sequence[Sample], true_labels: Sequence[Annotations]) -> Json:
    """F1 of regions (category, size and colour right) at IoU 0.5 and 0.75, and exact captions."""
    pairs = zip(samples, true_labels, strict=True)
    total = np.sum([truth.count_sample(s.annotations.kept(), t) for s, t in pairs], axis=0)
    metrics = truth.summary(total)["metrics"]
    names = {"f1": "region_attributes", "f1_75": "region_attributes_75", "captions": "texts"}
    return {short: round(metrics[name]["f1"], 4) for short, name in names.items()}


def asked_of(model: str) -> Json:
    """What the model is asked, at both looks."""
    return {
        "model": model,
        "tasks": ("<CAPTION>", "<OD>", "<DENSE_REGION_CAPTION>"),
        "support": ("<CAPTION>", "<REGION_TO_CATEGORY>", "<REGION_TO_DESCRIPTION>"),
        "resolution": RESOLUTION,
        "max_tokens": 128,
        "rows": 1024,
    }


def batches_of(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """The samples as those of round 1, some at a time."""
    for first in range(0, len(samples), ANNOTATED_AT_ONCE):
        batch = samples[first : first + ANNOTATED_AT_ONCE]
        yield [replace(sample, round=1) for sample in batch]


def annotate(samples: Sequence[Sample], model: str) -> list[Sample]:
    """What a model finds and judges in each sample, as round 1."""
    stage = Refine(RefineConfig(**asked_of(model)))
    judged = []
    for batch in batches_of(samples):
        for sample, result in zip(batch, stage(batch), strict=True):
            judged.append(replace(sample, annotations=with_ids(sample, result, "refine")))
    return judged


def look_again(samples: Sequence[Sample], model: str) -> dict[str, SecondLook]:
    """What the model says of the mirrored samples, by their keys."""
    stage = Witness(WitnessConfig(**asked_of(model), held_out=HELD_OUT))
    looks = {}
    for batch in batches_of(samples):
        for sample, result in zip(batch, stage(batch), strict=True):
            unlabelled = replace(sample, annotations=Annotations())
            look = SecondLook.of(with_ids(unlabelled, result, "witness"))
            if not look.is_empty:
                looks[sample.key] = look
    return looks


def merge_all(judged: Sequence[Sample], looks: Mapping[str, SecondLook]) -> list[Sample]:
    """The samples with old and new labels merged, by thresholds from the samples not learned."""
    rules = MergeConfig(
        regions=Rules(match_iou=0.4, same_iou=0.1),
        triplets=PhraseRules(match_iou=0.4, same_iou=0.1),
    )
    learned: list[tuple[Annotations, SecondLook]] = []
    unlearned: list[tuple[Annotations, SecondLook]] = []
    for sample in judged:
        looked = (sample.annotations, looks.get(sample.key, NO_LOOK))
        (unlearned if held_out(sample.key, HELD_OUT) else learned).append(looked)
    counted = count_judged(unlearned, 1, rules)
    curves = curves_of(counted, count_learned(learned, 1, rules))
    levels = thresholds_of(counted, rules, curves)
    rules = replace(rules, levels=levels)
    merged = []
    for sample in judged:
        look = looks.get(sample.key, NO_LOOK)
        revised = merge(sample.annotations, 1, rules, look)
        merged.append(replace(sample, annotations=sample.annotations.overlaid(revised)))
    return merged
