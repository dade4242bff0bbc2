"""What a sample teaches at a step of training: a function of the seed, the step and the sample's key alone."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from stages.base import Sample
from stages.florence.augment import mirrored
from stages.florence.tasks import Family, Pair, task

if TYPE_CHECKING:
    from stages.florence.training import TrainConfig


def targets(sample: Sample, config: TrainConfig, step: int) -> list[Pair]:
    """The examples that this sample teaches at this step."""
    rng = np.random.default_rng([config.seed, step, zlib.crc32(sample.key.encode())])
    available: dict[Family, dict[str, list[Pair]]] = {}
    for token in config.tasks:
        pairs = task(token).pairs(sample.annotations, sample.size)
        if pairs and config.families.get(task(token).family, 0.0) > 0:
            available.setdefault(task(token).family, {})[token] = pairs
    chosen: list[Pair] = []
    while available and len(chosen) < config.targets_per_image:
        families = list(available)
        weights = np.array([config.families[f] for f in families])
        family = families[rng.choice(len(families), p=weights / weights.sum())]
        token = list(available[family])[rng.integers(len(available[family]))]
        pairs = available[family][token]
        chosen.append(pairs.pop(rng.integers(len(pairs))))
        if not pairs:
            del available[family][token]
        if not available[family]:
            del available[family]
    return chosen


def augmented(sample: Sample, config: TrainConfig, step: int) -> Sample:
    """The sample as it is shown at this step."""
    return mirrored_half(sample, config.seed, step) if config.mirror else sample


def mirrored_half(sample: Sample, seed: int, step: int) -> Sample:
    """Mirrored in half of the cases."""
    draw = np.random.default_rng([seed, step, zlib.crc32(sample.key.encode()), 1]).random()
    return mirrored(sample) if draw < 0.5 else sample
