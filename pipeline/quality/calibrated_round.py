"""`fld calibrate`: the filters of a finished round with thresholds for a wanted precision.

Labels that a score threshold has dropped count too: the round's own filters decide anew without
their score thresholds. What they suppress as a duplicate stays out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.config.parse import parse
from pipeline.config.run import Entry
from pipeline.quality import calibration
from pipeline.quality.calibration_truth import PLACED, Truth, of_coco, of_people, of_source
from pipeline.quality.figures import calibration_curves
from pipeline.schema import KINDS, Annotation, Annotations, Record
from pipeline.storage.images import read_truth
from pipeline.storage.rounds import open_round, records_of
from stages import registry
from stages.base import Sample

if TYPE_CHECKING:
    from pipeline.storage.store import Store

# Reasons that depend on scores; a label that was dropped for another reason stays dropped.
SCORE_REASONS = ("low_score", "low_box_score", "class_overlap", "any_overlap", "duplicate_of_human")
# The settings of each filter that turn its score thresholds off.
NO_THRESHOLDS: dict[str, dict[str, Any]] = {
    "region_filter": {"min_score": -1.0, "min_scores": {}},
    "triplet_filter": {"min_box_score": -1.0, "min_box_scores": {}},
}
# The setting of each filter that takes thresholds by specialist and class.
THRESHOLDS = {"region_filter": "min_scores", "triplet_filter": "min_box_scores"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What `fld calibrate` found."""

    values: Mapping[str, Any]
    """The run's resolved config with the new thresholds, as plain values."""
    summary: Mapping[str, Any]
    """Wanted precision, number of samples, thresholds and curves, as plain values."""

    def write(self, out: str) -> None:
        """Write filters.yaml, config.yaml, curves.json and curves.png into the folder `out`."""
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        filters = yaml.safe_dump(self.values["filters"], sort_keys=False)
        (folder / "filters.yaml").write_text(filters)
        config = yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(config)
        (folder / "curves.json").write_text(json.dumps(self.summary, indent=1) + "\n")
        wanted = self.summary["wanted"]["precision"]
        picture = calibration_curves(self.summary["curves"], wanted)
        (folder / "curves.png").write_bytes(picture)


def calibrate_round(
    url: str, ground_truth: str | None, config: calibration.CalibrateConfig
) -> Calibration:
    """Calibrate the filters of a round by a COCO file, or by the round's own truth.

    Raises:
        ValueError: a share is out of range, there is no such round, or no sample has truth.
    """
    if not 0 < config.precision <= 1 or not 0 < config.iou <= 1:
        raise ValueError(f"--precision {config.precision} --iou {config.iou}: both are in (0, 1]")
    store, folder = open_round(url)
    values = yaml.safe_load(store.read("config.yaml"))
    filters = parse(values).filters
    samples = samples_with_truth(store, folder, filters, ground_truth)
    curves = calibration.calibrate(samples, config)
    thresholds = calibration.thresholds(curves, config.precision)
    for name, entry in filters.items():
        if thresholds.get(entry.use):
            setting = THRESHOLDS[entry.use]
            settings = values["filters"][name]
            settings[setting] = {**(settings.get(setting) or {}), **thresholds[entry.use]}
    return Calibration(values=values, summary=calibration.summary(curves, config, len(samples)))


def samples_with_truth(
    store: Store, folder: str, filters: Mapping[str, Entry], ground_truth: str | None
) -> list[tuple[Annotations, Truth]]:
    """The labels and the truth of each sample of a round whose truth is known.

    Raises:
        ValueError: no sample has truth.
    """
    known: dict[str, Annotations] = {}
    truth_of = of_coco(ground_truth) if ground_truth else of_people
    if not ground_truth:
        for shard in sorted(store.done(folder)):
            known.update(read_truth(store, shard))
    kinds = tuple(kind for kind in PLACED if any(getattr(truth, kind) for truth in known.values()))
    samples = []
    for record, labels in undecided(records_of(store, folder), filters):
        if record.key in known:
            truth: Truth | None = of_source(known[record.key], kinds)
        else:
            truth = truth_of(record)
        if truth is not None:
            samples.append((labels, truth))
    if not samples:
        raise ValueError(
            f"{store.url}/{folder}: no sample has a known truth; give --ground-truth F (COCO"
            " instances of the round's images)"
        )
    return samples


def undecided(
    records: Iterable[Record], filters: Mapping[str, Entry]
) -> Iterator[tuple[Record, Annotations]]:
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
    restored: dict[str, list[Annotation]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for annotation in getattr(annotations, kind):
            if annotation.locked:
                continue
            if annotation.dropped in SCORE_REASONS:
                annotation = dataclasses.replace(annotation, dropped=None)
            restored[kind].append(annotation)
    return Annotations(**restored)  # type: ignore[arg-type]
