"""`fld evaluate`: predictions against ground truth, by kind, with the metrics' usual names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeGuard

from pipeline.quality import captions, detection, grounding, ocr, vqa
from pipeline.quality.calibrated_round import Filters
from pipeline.quality.coco import (
    GROUND_TRUTH,
    PREDICTIONS,
    Entry,
    GroundTruth,
    ImageId,
    read,
)
from pipeline.quality.coco_records import predictions_of_records, truth_of_records
from pipeline.quality.machine_labels import machine_records
from pipeline.quality.sources import check_sources
from pipeline.rows import Record
from pipeline.schema import HUMAN

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


@dataclass(frozen=True, slots=True)
class _Taken:
    """Which entries of a round an evaluation takes: those of a kind that have a field."""

    kind: str
    field: str
    noun: str
    """What they are called in messages."""


_OF_A_ROUND = {
    "caption": _Taken("brief", "caption", "captions"),
    "detection": _Taken("region", "bbox", "boxes"),
    "segmentation": _Taken("region", "segmentation", "masks"),
    "grounding": _Taken("triplet", "bbox", "phrases"),
    "referring": _Taken("triplet", "bbox", "phrases"),
    "referring-segmentation": _Taken("triplet", "segmentation", "phrases"),
    "ocr": _Taken("text_region", "quad", "words"),
}

Source = str | Path | GroundTruth | list[Entry] | Sequence[Record]
"""The name of a JSON file, its content, or the records of a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which labels of a round are predictions."""

    sources: Sequence[str] = ()
    """Only labels of these sources; empty for all that machines made. Human labels are no
    predictions, unless `human` is among the sources."""
    filters: Filters = field(default_factory=dict)
    """The filters of the run that made the round. They undo what human labels have made them drop
    (`machine_labels.py`); without filters it stays dropped."""


def open_source(name: str, image_source: str = "") -> str | list[Record]:
    """The name of a JSON file as it is; for the name of a round, its records.

    With `image_source` only the records of images of this source.

    Raises:
        ValueError: there is neither a file nor a round of that name, or no such source.
    """
    from pipeline.storage.rounds import open_round

    if name.endswith(".json") or Path(name).is_file():
        return name
    return list(open_round(name, image_source).records())


def evaluate(
    kind: str,
    ground_truth: Source,
    predictions: Source,
    tokenized: bool = False,
    choice: Choice | None = None,
) -> dict[str, float]:
    """The metrics of one kind of labels.

    Args:
        kind: one of `formats.FORMATS`.
        ground_truth: a JSON file, its content, or the records of a round.
        predictions: a JSON file, its content, or the records of a round.
        tokenized: captions are split by spaces already.
        choice: which labels of a round are predictions; None for all that machines made.

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
        truth = _truth(kind, truth)
    choice = choice or Choice()
    if _is_round(predicted):
        predicted = _predictions(kind, predicted, truth, choice)
    elif choice.sources:
        raise ValueError("--source: a JSON file of predictions names no sources; leave it out")
    options = {"tokenized": True} if tokenized else {}
    return _SCORERS[kind](truth, predicted, **options)


def _is_round(source: object) -> TypeGuard[Sequence[Record]]:
    """Whether it is a sequence of records; everything else is JSON."""
    if not isinstance(source, list | tuple) or not source:
        return False
    return isinstance(source[0], Record)


def _of_kind(kind: str, entries: list[Entry]) -> list[Entry]:
    """The entries of a round that an evaluation takes."""
    taken = _OF_A_ROUND[kind]
    return [entry for entry in entries if entry["kind"] == taken.kind and taken.field in entry]


def _truth(kind: str, records: Sequence[Record]) -> GroundTruth:
    """A round as ground truth. How many of its labels people have made is told."""
    truth = truth_of_records(records)
    truth["annotations"] = _of_kind(kind, truth["annotations"])
    logging.getLogger("fld").warning(
        "ground truth: %d of the %d %s of the round are human labels, the others machine-made",
        _count_human(kind, records),
        len(truth["annotations"]),
        _OF_A_ROUND[kind].noun,
    )
    return truth


def _predictions(
    kind: str, records: Sequence[Record], truth: GroundTruth, choice: Choice
) -> list[Entry]:
    """The chosen labels of a round as predictions. What becomes of human labels is told.

    Human labels are left out unless they were asked for, or there are no others: then the round is
    compared with the file that its labels came from.

    Raises:
        ValueError: a source has no label.
    """
    check_sources(choice.sources, records)
    human = _count_human(kind, records)
    sources = choice.sources
    chosen = _chosen(records, choice)
    if human and not sources and not _count(kind, chosen):
        # There is nothing else, and each call of `predictions_of_records` may warn.
        sources = (HUMAN,)
        chosen = _chosen(records, replace(choice, sources=sources))
    predictions = _of_kind(kind, predictions_of_records(chosen, truth))
    _tell_human(_OF_A_ROUND[kind].noun, human, len(predictions), sources)
    return _surest_captions(predictions) if kind == "caption" else predictions


def _chosen(records: Sequence[Record], choice: Choice) -> Sequence[Record]:
    """The records with the chosen labels alone."""
    if HUMAN not in choice.sources:
        records = list(machine_records(records, choice.filters))
    return _of_sources(records, choice.sources)


def _of_sources(records: Sequence[Record], sources: Sequence[str]) -> Sequence[Record]:
    """The records with the labels of some sources alone; all labels if there are no sources."""
    if not sources:
        return records
    chosen = []
    for record in records:
        labels = record.annotations.where(lambda annotation: annotation.source in sources)
        chosen.append(replace(record, annotations=labels))
    return chosen


def _count_human(kind: str, records: Sequence[Record]) -> int:
    """How many labels of a kind people have made in a round."""
    return _count(kind, _of_sources(records, (HUMAN,)))


def _count(kind: str, records: Sequence[Record]) -> int:
    """How many kept labels of a kind the records have."""
    return len(_of_kind(kind, truth_of_records(records)["annotations"]))


def _tell_human(noun: str, human: int, measured: int, sources: Sequence[str]) -> None:
    """Tell how many human labels are measured or left out."""
    if not human:
        return
    if HUMAN in sources:
        logging.getLogger("fld").warning(
            "predictions: %d of the %d %s are human labels, which nothing has predicted",
            human,
            measured,
            noun,
        )
    else:
        logging.getLogger("fld").warning(
            "predictions: %d machine-made %s are measured; %d human ones are left out, because"
            " nothing has predicted them (--source human takes them)",
            measured,
            noun,
            human,
        )


def _surest_captions(entries: list[Entry]) -> list[Entry]:
    """One caption for each image: the first of those with the highest score."""
    best: dict[ImageId, Entry] = {}
    for entry in entries:
        image = entry["image_id"]
        if image not in best or entry["score"] > best[image]["score"]:
            best[image] = entry
    return list(best.values())
