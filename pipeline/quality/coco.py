"""COCO-style files: reading them, checking them, and making them of our own records.

Ground truth is `{"images": [{"id", ...}], "annotations": [{"image_id", ...}], "categories": [...]}`, where an
image may hold only its `id`; predictions are a list of `{"image_id", ...}`. Boxes are x y width height.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.schema import Annotations, Mask, Record

Entry = Mapping[str, Any]
Key = tuple[Any, ...]


def read(source: Any, name: str) -> Any:
    """The content of a JSON file; anything that is no path is taken as it is."""
    if not isinstance(source, str | Path):
        return source
    try:
        return json.loads(Path(source).read_text())
    except FileNotFoundError:
        raise ValueError(f"{name} {source}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} {source}: not JSON ({error})") from None


def check(
    ground_truth: Any, predictions: Any, wanted: Sequence[str], predicted: Sequence[str]
) -> None:
    """Refuse what cannot be scored, naming the first entry at fault.

    `wanted` are the fields of a ground-truth annotation, `predicted` those of a prediction.
    """
    if not isinstance(ground_truth, Mapping) or "annotations" not in ground_truth:
        raise ValueError('ground truth: expected {"images": [...], "annotations": [...]}')
    if not isinstance(predictions, list):
        raise ValueError(f"predictions: expected a list of entries with {', '.join(predicted)}")
    for name, entries, fields in (
        ("ground truth annotations", ground_truth["annotations"], wanted),
        ("predictions", predictions, predicted),
    ):
        for i, entry in enumerate(entries):
            missing = [field for field in fields if field not in entry]
            if missing:
                raise ValueError(
                    f"{name}[{i}]: no {missing[0]!r}; an entry has {', '.join(fields)}"
                )
    known = set(image_ids(ground_truth)) if "image_id" in predicted else set()
    for i, entry in enumerate(predictions):
        if known and entry["image_id"] not in known:
            raise ValueError(
                f"predictions[{i}]: image_id {entry['image_id']!r} is not in the ground truth"
            )


def image_ids(ground_truth: Entry) -> list[Any]:
    """The images of a ground truth: those it lists, else those its annotations name."""
    listed = [image["id"] for image in ground_truth.get("images", [])]
    return listed or list(dict.fromkeys(entry["image_id"] for entry in ground_truth["annotations"]))


def grouped(entries: Iterable[Entry], key: Callable[[Entry], Key]) -> dict[Key, list[Entry]]:
    groups: dict[Key, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return groups


def xyxy(box: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return (x, y, x + width, y + height)


def xywh(box: Sequence[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def truth_of_records(records: Iterable[Record]) -> dict[str, Any]:
    """A round as ground truth of every kind: images are named by their keys, categories by their phrases."""
    records = list(records)
    categories = sorted(
        {region.phrase for record in records for region in record.annotations.kept().regions}
    )
    ids = {phrase: i for i, phrase in enumerate(categories, 1)}
    images = [
        {"id": record.key, "file_name": record.name, "width": record.width, "height": record.height}
        for record in records
    ]
    entries = [
        {"id": i, **entry}
        for i, entry in enumerate(
            (e for record in records for e in _entries(record, record.key, ids)), 1
        )
    ]
    named = [{"id": id_, "name": phrase} for phrase, id_ in ids.items()]
    return {"images": images, "annotations": entries, "categories": named}


def predictions_of_records(records: Iterable[Record], ground_truth: Entry) -> list[dict[str, Any]]:
    """A round as predictions of every kind for the images of `ground_truth`, found by file name or by key.

    Regions of categories that the ground truth does not name are left out, as COCO's own scoring would.
    """
    ids = {str(image["id"]): image["id"] for image in ground_truth.get("images", [])}
    ids |= {
        _base(image["file_name"]): image["id"]
        for image in ground_truth.get("images", [])
        if "file_name" in image
    }
    categories = {
        category["name"]: category["id"] for category in ground_truth.get("categories", [])
    }
    found = [(record, ids.get(_base(record.name), ids.get(record.key))) for record in records]
    if found and all(id_ is None for _, id_ in found):
        raise ValueError(
            "predictions: no image of the round is in the ground truth (by file_name or by id = key)"
        )
    return [
        entry
        for record, id_ in found
        if id_ is not None
        for entry in _entries(record, id_, categories)
    ]


def _base(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _entries(
    record: Record, image_id: Any, categories: Mapping[str, int]
) -> Iterable[dict[str, Any]]:
    """Each kept annotation as one entry; `kind` tells which evaluations it belongs to."""
    kept: Annotations = record.annotations.kept()
    for text in kept.texts:
        yield {
            "kind": text.granularity,
            "image_id": image_id,
            "caption": text.text,
            "score": _score(text),
        }
    for region in kept.regions:
        if region.phrase in categories:
            yield {
                "kind": "region",
                "image_id": image_id,
                "category_id": categories[region.phrase],
                "bbox": xywh(region.box),
                "score": _score(region),
                **_segmentation(region.mask),
            }
    for word in kept.text_regions:
        yield {
            "kind": "text_region",
            "image_id": image_id,
            "quad": list(word.quad),
            "text": word.text,
            "score": _score(word),
        }
    for triplet in kept.triplets:
        yield {
            "kind": "triplet",
            "image_id": image_id,
            "phrase": triplet.phrase,
            "bbox": xywh(triplet.box),
            "score": _score(triplet),
            **_segmentation(triplet.mask),
        }


def _score(annotation: Any) -> float:
    return next((v for v in (annotation.confidence, annotation.score) if v is not None), 1.0)


def _segmentation(mask: Mask | None) -> dict[str, Any]:
    return (
        {} if mask is None else {"segmentation": {"size": list(mask.size), "counts": mask.counts}}
    )
