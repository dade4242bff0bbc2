"""Which examples a sample teaches at a step: a function of the seed, the step and the sample's key.

So the examples do not depend on the number of workers, and a resumed run draws the same ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from pipeline.schema import Annotations
from stages.base import Sample
from stages.florence.augment import mirrored
from stages.florence.config import TrainConfig
from stages.florence.tasks import Example, Family, find_task

Available = dict[Family, dict[str, list[Example]]]
"""Examples that are not drawn yet, by family and task; none is empty."""


def draw_examples(sample: Sample, config: TrainConfig, step: int) -> list[Example]:
    """Draw the examples that a sample teaches at a step, without replacement.

    The family is drawn by its weight, then a task of that family, then one of its examples.

    Args:
        sample: an image with its annotations; dropped ones teach nothing.
        config: tasks, weights and the number of examples.
        step: number of the step, from 0.

    Returns:
        Up to `targets_per_image` examples; fewer if the sample has no more.
    """
    draw = np.random.default_rng([config.seed, step, _key_seed(sample)])
    available = _available(sample, config)
    chosen: list[Example] = []
    while available and len(chosen) < config.targets_per_image:
        families = list(available)
        weights = np.array([config.families[family] for family in families])
        family = families[draw.choice(len(families), p=weights / weights.sum())]
        tasks = available[family]
        token = list(tasks)[draw.integers(len(tasks))]
        examples = tasks[token]
        chosen.append(examples.pop(draw.integers(len(examples))))
        if not examples:
            del tasks[token]
        if not tasks:
            del available[family]
    return chosen


def label_weight(example: Example, annotations: Annotations, human_weight: float) -> float:
    """The weight of an example in the loss: the mean weight of the labels that it says.

    A human label has `human_weight`, a label of a machine 1.
    """
    human = {label.id for label in annotations.all() if label.locked}
    said = example.label_spans
    if not said:
        return 1.0
    share = sum(id_ in human for id_ in said) / len(said)
    return share * human_weight + (1 - share)


def _available(sample: Sample, config: TrainConfig) -> Available:
    """All examples of a sample whose family has a weight."""
    available: Available = {}
    for token in config.tasks:
        task = find_task(token)
        examples = task.examples(sample.annotations, sample.size)
        if examples and config.families.get(task.family, 0.0) > 0:
            available.setdefault(task.family, {})[token] = examples
    return available


def augment_samples(samples: Sequence[Sample], config: TrainConfig, step: int) -> list[Sample]:
    """Return the samples as they are shown at a step."""
    if not config.mirror:
        return list(samples)
    return [mirror_half(sample, config.seed, step) for sample in samples]


def mirror_half(sample: Sample, seed: int, step: int) -> Sample:
    """Mirror a sample at half of the steps.

    Which half depends on the seed, the step and the sample's key alone.
    """
    draw = np.random.default_rng([seed, step, _key_seed(sample), 1])
    return mirrored(sample) if draw.random() < 0.5 else sample


def _key_seed(sample: Sample) -> int:
    return zlib.crc32(sample.key.encode())
