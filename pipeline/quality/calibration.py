"""Score thresholds that reach a wanted precision, from a small labelled set: `fld calibrate`.

In: the records of a round with the truth of some of them: a COCO file, else what the source knows exactly, else the
labels of people. Out: for every specialist, and for every class of it with enough labels, the lowest score from which
on its labels are as precise as wanted, in the form that the filters take, and the curve.

Labels that a score threshold dropped count too: the round's own filters decide anew without their score thresholds, and
what they suppress as a double stays out. A class with too few labels takes its specialist's threshold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.quality.coco import read
from pipeline.quality.truth import bare_phrase, in_crowd, letters, normalise
from pipeline.schema import CROWD, KINDS, Annotations, Record, Region
from stages import registry
from stages.base import Sample
from stages.geometry import box_iou, greedy_match, quad_iou

PLACED = ("regions", "text_regions", "triplets")
SCORE_REASONS = ("low_score", "low_box_score", "class_overlap", "any_overlap", "duplicate_of_human")
# The settings of the filters that score thresholds go to, and what turns them off.
OPEN: dict[str, dict[str, Any]] = {
    "region_filter": {"min_score": -1.0, "min_scores": {}},
    "triplet_filter": {"min_box_score": -1.0, "min_box_scores": {}},
}
SHUT = 1.01  # above every score: a specialist or class that never gets so precise


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig:
    precision: float = 0.9
    iou: float = 0.5  # from which on a label that says the right thing is right
    min_labels: int = 30  # of a class, for a threshold of its own


@dataclass(frozen=True, slots=True)
class Known:
    """The truth of a sample, the kinds that it covers, and crowds: regions in them are neither right nor wrong."""

    truth: Annotations
    kinds: tuple[str, ...]
    crowds: Sequence[Region] = field(default=())


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall of the labels that score at least `threshold`, by falling threshold."""

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    labels: int

    def reach(self, precision: float) -> int | None:
        """Index of the lowest threshold with this precision, None when there is none."""
        good = np.flatnonzero(self.precision >= precision)
        return int(good[-1]) if len(good) else None


Curves = dict[tuple[str, str], Curve]  # by kind, and by specialist or specialist/class


def curve(scores: Sequence[float], right: Sequence[bool], there: int) -> Curve:
    """`there` counts the truth; equal scores stand or fall together."""
    order = np.argsort(-np.array(scores), kind="stable")
    by_score, hits = np.array(scores)[order], np.cumsum(np.array(right)[order])
    last = np.flatnonzero(np.r_[np.diff(by_score) != 0, True])
    return Curve(by_score[last], hits[last] / (last + 1), hits[last] / max(there, 1), len(scores))


def calibrate(samples: Iterable[tuple[Annotations, Known]], config: CalibrateConfig) -> Curves:
    """The curves of (labels, truth) of some samples."""
    scores: dict[tuple[str, str], list[float]] = {}
    right: dict[tuple[str, str], list[bool]] = {}
    there: dict[tuple[str, str], int] = {}
    for labels, known in samples:
        for kind in known.kinds:
            for item in getattr(known.truth, kind):
                for name in {"", _class(item)}:
                    there[kind, name] = there.get((kind, name), 0) + 1
            for item, hit in _judged(kind, labels, known, config.iou):
                for key in dict.fromkeys(
                    (item.source, f"{item.source}/{_class(item)}" if _class(item) else item.source)
                ):
                    scores.setdefault((kind, key), []).append(_score(item))
                    right.setdefault((kind, key), []).append(hit)
    return {
        (kind, key): curve(values, right[kind, key], there.get((kind, key.partition("/")[2]), 0))
        for (kind, key), values in sorted(scores.items())
        if "/" not in key or len(values) >= config.min_labels
    }


def thresholds(curves: Curves, precision: float) -> dict[str, dict[str, float]]:
    """By filter, the thresholds in the form of its setting; rounded down, so that the last right label stays."""
    found: dict[str, dict[str, float]] = {use: {} for use in OPEN}
    for (kind, key), each in curves.items():
        i = each.reach(precision)
        use = "triplet_filter" if kind == "triplets" else "region_filter"
        found[use][key] = SHUT if i is None else float(np.floor(each.threshold[i] * 1e4) / 1e4)
    return found


def undecided(
    records: Iterable[Record], filters: Mapping[str, Any]
) -> Iterator[tuple[Record, Annotations]]:
    """Each record with the machine-made labels that would stand if no score threshold were set."""
    opened = [
        registry.load(entry.use)[0](dataclasses.replace(entry.options, **OPEN[entry.use]))
        for entry in filters.values()
        if entry.use in OPEN
    ]
    for record in records:
        made = record.annotations.where(lambda a: not a.locked)
        free = Annotations(*([_freed(a) for a in getattr(made, kind)] for kind in KINDS))
        for stage in opened:
            sample = Sample(key=record.key, size=(record.width, record.height), annotations=free)
            free = free.overlaid(stage([sample])[0])
        yield record, free.kept()


def of_source(truth: Annotations, kinds: tuple[str, ...]) -> Known:
    """What the source knows of a sample; `kinds` are those that it tells of at all."""
    crowds = [r for r in truth.regions if r.dropped == CROWD]
    return Known(truth.kept(), kinds, crowds)


def of_people(record: Record) -> Known | None:
    """What people said of a sample; nothing when they said nothing of boxes."""
    said = record.annotations.kept().where(lambda a: a.locked)
    kinds = tuple(kind for kind in PLACED if getattr(said, kind))
    return Known(said, kinds) if kinds else None


def of_coco(file: str) -> Callable[[Record], Known | None]:
    """The regions of a COCO file; a record is found by file name, or by its key as the image's id."""
    truth = read(file, "ground truth")
    if (
        not isinstance(truth, Mapping)
        or not {"images", "annotations", "categories"} <= truth.keys()
    ):
        raise ValueError(
            f'{file}: expected COCO instances, {{"images": .., "annotations": .., "categories": ..}}'
        )
    names = {category["id"]: category["name"] for category in truth["categories"]}
    regions: dict[Any, list[tuple[bool, Region]]] = {image["id"]: [] for image in truth["images"]}
    for entry in truth["annotations"]:
        x, y, width, height = entry["bbox"]
        region = Region(box=(x, y, x + width, y + height), phrase=names[entry["category_id"]])
        regions[entry["image_id"]].append((bool(entry.get("iscrowd")), region))
    ids = {str(image["id"]): image["id"] for image in truth["images"]}
    ids |= {
        str(i["file_name"]).rsplit("/", 1)[-1]: i["id"] for i in truth["images"] if "file_name" in i
    }

    def known(record: Record) -> Known | None:
        image = ids.get(record.name.rsplit("/", 1)[-1], ids.get(record.key))
        if image is None:
            return None
        told = Annotations(regions=[r for is_crowd, r in regions[image] if not is_crowd])
        return Known(told, ("regions",), [r for is_crowd, r in regions[image] if is_crowd])

    return known


def summary(curves: Curves, config: CalibrateConfig, samples: int) -> dict[str, Any]:
    """Everything as plain JSON: a row per threshold, and the curves."""
    rows, lines = [], []
    for (kind, key), each in curves.items():
        i = each.reach(config.precision)
        source, _, name = key.partition("/")
        rows.append(
            {
                "type": kind,
                "source": source,
                "class": name or None,
                "labels": each.labels,
                "threshold": None if i is None else float(each.threshold[i]),
                "precision": None if i is None else float(each.precision[i]),
                "recall": None if i is None else float(each.recall[i]),
            }
        )
        values = {
            name: getattr(each, name).tolist() for name in ("threshold", "precision", "recall")
        }
        lines.append({"type": kind, "source": source, "class": name or None, **values})
    return {
        "wanted": dataclasses.asdict(config),
        "samples": samples,
        "thresholds": rows,
        "curves": lines,
    }


def _judged(kind: str, labels: Annotations, known: Known, iou: float) -> Iterator[tuple[Any, bool]]:
    """The scored labels of a kind and whether each is right: best first, each takes the free truth that it overlaps
    most, once per specialist."""
    granularity = {t.id: t.granularity for t in (*labels.texts, *known.truth.texts)}
    told = {granularity.get(t.text_id) for t in known.truth.triplets}
    items = [a for a in getattr(labels, kind) if a.score is not None or a.confidence is not None]
    if kind == "triplets":
        items = [t for t in items if granularity.get(t.text_id) in told]
    for source in dict.fromkeys(a.source for a in items):
        mine = [a for a in items if a.source == source]
        overlap = _overlap(kind, mine, getattr(known.truth, kind))
        hits = {row for row, _ in greedy_match(overlap, [_score(a) for a in mine], iou)}
        for row, item in enumerate(mine):
            if row in hits or not in_crowd(item, known.crowds):
                yield item, row in hits


def _overlap(kind: str, labels: Sequence[Any], truth: Sequence[Any]) -> np.ndarray:
    """The IoU of labels and truth that say the same, elsewhere -1."""
    if kind == "text_regions":
        overlap = quad_iou([a.quad for a in labels], [b.quad for b in truth])
    else:
        overlap = box_iou([a.box for a in labels], [b.box for b in truth])
    same = np.array([[_said(a) == _said(b) for b in truth] for a in labels], bool).reshape(
        overlap.shape
    )
    return np.where(same, overlap, -1.0)


def _said(item: Any) -> str:
    if hasattr(item, "quad"):
        return letters(item.text)
    return normalise(item.phrase) if isinstance(item, Region) else bare_phrase(item.phrase)


def _class(item: Any) -> str:
    return item.phrase if isinstance(item, Region) else ""


def _score(item: Any) -> float:
    return float(item.confidence if item.confidence is not None else item.score)


def _freed(annotation: Any) -> Any:
    return (
        dataclasses.replace(annotation, dropped=None)
        if annotation.dropped in SCORE_REASONS
        else annotation
    )
