"""`fld evaluate`: predictions against ground truth, by kind, with the usual names of the metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.quality import captions, detection, grounding, ocr, vqa
from pipeline.quality.coco import predictions_of_records, read, truth_of_records
from pipeline.schema import Record

_SCORERS: dict[str, Callable[..., dict[str, Any]]] = {
    "caption": captions.score,
    "detection": partial(detection.score, kind="bbox"),
    "segmentation": partial(detection.score, kind="segm"),
    "grounding": grounding.recall,
    "referring": grounding.referring,
    "referring-segmentation": grounding.referring_segmentation,
    "ocr": ocr.score,
    "vqa": vqa.score,
}
_OF_A_ROUND = {
    "caption": ("brief", "caption"),
    "detection": ("region", "bbox"),
    "segmentation": ("region", "segmentation"),
    "grounding": ("triplet", "bbox"),
    "referring": ("triplet", "bbox"),
    "referring-segmentation": ("triplet", "segmentation"),
    "ocr": ("text_region", "quad"),
}

Source = str | Path | dict[str, Any] | list[dict[str, Any]] | Sequence[Record]


def evaluate(
    kind: str, ground_truth: Source, predictions: Source, tokenized: bool = False
) -> dict[str, Any]:
    """The metrics of `kind`. Each side is a JSON file, its content, or the records of a round.

    Raises:
        ValueError: one line that names what cannot be read or scored.
    """
    if kind not in _SCORERS:
        raise ValueError(f"evaluate {kind}: choose from {', '.join(_SCORERS)}")
    if tokenized and kind != "caption":
        raise ValueError(f"--tokenized is for captions, not for {kind}")
    truth, found = read(ground_truth, "ground truth"), read(predictions, "predictions")
    for side in (truth, found):
        if _is_round(side) and kind not in _OF_A_ROUND:
            raise ValueError(
                f"evaluate {kind}: a round holds nothing of that kind; give a JSON file"
            )
    if _is_round(truth):
        truth = truth_of_records(truth)
        truth["annotations"] = _of_kind(kind, truth["annotations"])
    if _is_round(found):
        found = _of_kind(kind, predictions_of_records(found, truth))
        found = _surest_captions(found) if kind == "caption" else found
    return _SCORERS[kind](truth, found, **({"tokenized": True} if tokenized else {}))


def _is_round(source: Any) -> bool:
    return isinstance(source, list | tuple) and bool(source) and isinstance(source[0], Record)


def _of_kind(kind: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    name, field = _OF_A_ROUND[kind]
    return [entry for entry in entries if entry["kind"] == name and field in entry]


def _surest_captions(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One caption an image: the first of the surest."""
    best: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        held = best.get(entry["image_id"])
        if held is None or entry["score"] > held["score"]:
            best[entry["image_id"]] = entry
    return list(best.values())
