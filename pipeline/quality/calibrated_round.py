"""`fld calibrate`: the filters of a finished round with thresholds for a wanted precision.

Labels that a score threshold has dropped count too: the round's own filters decide anew without
their score thresholds. What they suppress as a duplicate stays out.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import yaml

from pipeline.quality import calibration
from pipeline.quality.calibration import CalibrateConfig, CalibrationSummary
from pipeline.quality.calibration_truth import PLACED, Truth, of_coco, of_people, of_source
from pipeline.quality.figures import calibration_curves
from pipeline.quality.small_samples import few_for_a_class, few_for_thresholds
from pipeline.rows import Record
from pipeline.schema import KINDS, Annotations
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.json_types import Json
from stages import registry
from stages.base import Sample

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from pipeline.storage.rounds import OpenRound

# Reasons that depend on scores; a label that was dropped for another reason stays dropped.
SCORE_REASONS = ("low_score", "low_box_score", "class_overlap", "any_overlap", "duplicate_of_human")
# The settings of each filter that turn its score thresholds off.
NO_THRESHOLDS: dict[str, Json] = {
    "region_filter": {"min_score": -1.0, "min_scores": {}},
    "triplet_filter": {"min_box_score": -1.0, "min_box_scores": {}},
}
# The setting of each filter that takes thresholds by specialist and class.
THRESHOLDS = {"region_filter": "min_scores", "triplet_filter": "min_box_scores"}


class FilterEntry(Protocol):
    """What is read of a filter's entry in the run's config."""

    @property
    def use(self) -> str:
        """The name of the stage."""

    @property
    def options(self) -> DataclassInstance:
        """The config of the stage."""


Filters = Mapping[str, FilterEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What `fld calibrate` found."""

    values: Json
    """The run's resolved config with the new thresholds, as plain values."""
    summary: CalibrationSummary
    """Wanted precision, number of samples, thresholds and curves, as plain values."""
    warnings: list[str]
    """What rests on too few labels, in a line each."""

    def write(self, out: str) -> None:
        """Write filters.yaml, config.yaml, curves.json and curves.png into the folder `out`."""
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        filters = yaml.safe_dump(self.values["filters"], sort_keys=False)
        (folder / "filters.yaml").write_text(filters)
        config = yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True)
        (folder / layout.CONFIG).write_text(config)
        (folder / "curves.json").write_text(json.dumps(self.summary, indent=1) + "\n")
        wanted = self.summary["wanted"]["precision"]
        picture = calibration_curves(self.summary["curves"], wanted)
        (folder / "curves.png").write_bytes(picture)


def calibrate_round(
    opened: OpenRound,
    values: Json,
    filters: Filters,
    ground_truth: str | None,
    config: CalibrateConfig,
) -> Calibration:
    """Calibrate the filters of a round by a COCO file, or by the round's own truth.

    `values` are the resolved settings of the run as plain values, and `filters` its filters.

    Raises:
        ValueError: no sample has truth.
    """
    samples = samples_with_truth(opened, filters, ground_truth)
    curves = calibration.all_curves(samples, config)
    few: dict[str, int] = {}
    for (kind, name), found in list(curves.items()):
        if not calibration.is_specialist(name) and found.labels < config.min_labels:
            few[name] = found.labels
            del curves[kind, name]
    thresholds = calibration.thresholds(curves, config.precision)
    calibrated = copy.deepcopy(values)
    for name, entry in filters.items():
        if thresholds.get(entry.use):
            setting = THRESHOLDS[entry.use]
            settings = calibrated["filters"][name]
            settings[setting] = {**(settings.get(setting) or {}), **thresholds[entry.use]}
    summary = calibration.summary(curves, config, len(samples))
    warnings = [
        few_for_thresholds(summary["thresholds"], config.precision),
        few_for_a_class(few, config.min_labels),
    ]
    lines = [line for line in warnings if line is not None]
    return Calibration(values=calibrated, summary=summary, warnings=lines)


def samples_with_truth(
    opened: OpenRound, filters: Filters, ground_truth: str | None
) -> list[tuple[Annotations, Truth]]:
    """The labels and the truth of each sample of a round whose truth is known.

    Raises:
        ValueError: no sample has truth.
    """
    of_the_source: dict[str, Annotations] = {}
    truth_of = of_coco(ground_truth, opened.records()) if ground_truth else of_people
    if not ground_truth:
        for shard in opened.shards():
            of_the_source.update(read_truth(opened.store, shard))
    kinds = _kinds(of_the_source.values())
    samples = []
    for record, labels in undecided(opened.records(), filters):
        if record.key in of_the_source:
            samples.append((labels, of_source(of_the_source[record.key], kinds)))
            continue
        truth = truth_of(record)
        if truth is not None:
            samples.append((labels, truth))
    if not samples:
        raise ValueError(
            f"{opened.url}: no sample has a known truth; give --ground-truth F (COCO instances of"
            " the round's images)"
        )
    return samples


def _kinds(truths: Collection[Annotations]) -> tuple[str, ...]:
    """The kinds of which the source knows the truth of any sample."""
    kinds = []
    for kind in PLACED:
        if any(getattr(truth, kind) for truth in truths):
            kinds.append(kind)
    return tuple(kinds)


def undecided(records: Iterable[Record], filters: Filters) -> Iterator[tuple[Record, Annotations]]:
    """Each record with the machine-made labels that remain if no score threshold is set."""
    stages = []
    for entry in filters.values():
        if entry.use in NO_THRESHOLDS:
            stage, _ = registry.load(entry.use)
            stages.append(stage(dataclasses.replace(entry.options, **NO_THRESHOLDS[entry.use])))
    for record in records:
        labels = _restored(record.annotations)
        for stage in stages:
            sample = Sample(record.key, (record.width, record.height), annotations=labels)
            labels = labels.overlaid(stage([sample])[0])
        yield record, labels.kept()


def _restored(annotations: Annotations) -> Annotations:
    """The machine-made labels; those that were dropped for their score are kept again."""
    restored = Annotations()
    for kind in KINDS:
        for annotation in getattr(annotations, kind):
            if annotation.locked:
                continue
            if annotation.dropped in SCORE_REASONS:
                annotation = dataclasses.replace(annotation, dropped=None)
            getattr(restored, kind).append(annotation)
    return restored
