"""`fld evaluate`: predictions against ground truth, by kind, with the metrics' usual names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeGuard

from pipeline.quality import captions, detection, grounding, ocr, vqa
from pipeline.quality.coco import (
    GROUND_TRUTH,
    PREDICTIONS,
    Entry,
    GroundTruth,
    ImageId,
    read,
)
from pipeline.quality.coco_records import predictions_of_records, truth_of_records
from pipeline.schema import Record

_SCORERS: dict[str, Callable[..., dict[str, float]]] = {
    "caption": captions.score,
    "detection": partial(detection.score, kind="bbox"),
    "segmentation": partial(detection.score, kind="segm"),
    "grounding": grounding.recall,
    "referring": grounding.referring,
    "referring-segmentation": grounding.referring_segmentation,
    "ocr": ocr.score,
    "vqa": vqa.score,
}
# The entries of a round that an evaluation takes: those of a kind that have a field.
_OF_A_ROUND = {
    "caption": ("brief", "caption"),
    "detection": ("region", "bbox"),
    "segmentation": ("region", "segmentation"),
    "grounding": ("triplet", "bbox"),
    "referring": ("triplet", "bbox"),
    "referring-segmentation": ("triplet", "segmentation"),
    "ocr": ("text_region", "quad"),
}

Source = str | Path | GroundTruth | list[Entry] | Sequence[Record]
"""The name of a JSON file, its content, or the records of a round."""


def open_source(name: str) -> str | list[Record]:
    """The name of a JSON file as it is; for the name of a round, its records.

    Raises:
        ValueError: there is neither a file nor a round of that name.
    """
    from pipeline.storage.rounds import open_round

    if name.endswith(".json") or Path(name).is_file():
        return name
    return list(open_round(name).records())


def evaluate(
    kind: str, ground_truth: Source, predictions: Source, tokenized: bool = False
) -> dict[str, float]:
    """The metrics of one kind of labels.

    Args:
        kind: one of `formats.FORMATS`.
        ground_truth: a JSON file, its content, or the records of a round.
        predictions: a JSON file, its content, or the records of a round.
        tokenized: captions are split by spaces already.

    Returns:
        The metrics by their usual names.

    Raises:
        ValueError: something cannot be read or scored; one line names it.
    """
    if kind not in _SCORERS:
        raise ValueError(f"evaluate {kind}: choose from {', '.join(_SCORERS)}")
    if tokenized and kind != "caption":
        raise ValueError(f"--tokenized is for captions, not for {kind}")
    truth = read(ground_truth, GROUND_TRUTH)
    predicted = read(predictions, PREDICTIONS)
    if kind not in _OF_A_ROUND and (_is_round(truth) or _is_round(predicted)):
        raise ValueError(f"evaluate {kind}: a round holds nothing of that kind; give a JSON file")
    if _is_round(truth):
        truth = truth_of_records(truth)
        truth["annotations"] = _of_kind(kind, truth["annotations"])
    if _is_round(predicted):
        predicted = _of_kind(kind, predictions_of_records(predicted, truth))
        if kind == "caption":
            predicted = _surest_captions(predicted)
    options = {"tokenized": True} if tokenized else {}
    return _SCORERS[kind](truth, predicted, **options)


def _is_round(source: object) -> TypeGuard[Sequence[Record]]:
    """Whether it is a sequence of records; everything else is JSON."""
    if not isinstance(source, list | tuple) or not source:
        return False
    return isinstance(source[0], Record)


def _of_kind(kind: str, entries: list[Entry]) -> list[Entry]:
    """The entries of a round that an evaluation takes."""
    name, field = _OF_A_ROUND[kind]
    return [entry for entry in entries if entry["kind"] == name and field in entry]


def _surest_captions(entries: list[Entry]) -> list[Entry]:
    """One caption for each image: the first of those with the highest score."""
    best: dict[ImageId, Entry] = {}
    for entry in entries:
        image = entry["image_id"]
        if image not in best or entry["score"] > best[image]["score"]:
            best[image] = entry
    return list(best.values())
