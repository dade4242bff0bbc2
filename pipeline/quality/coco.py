"""COCO-style files: reading them and checking them.

Ground truth is `{"images": [{"id", ...}], "annotations": [{"image_id", ...}], "categories": [..]}`,
where an image may hold only its `id`. Predictions are a list of `{"image_id", ...}`. Boxes are
x y width height in pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Required, TypedDict, cast

ImageId = str | int
Key = tuple[ImageId | None, ...]
"""What groups entries: the id of their image, or that with a text."""
Polygons = Sequence[Sequence[float]]
"""The outlines of an object, each x0 y0 x1 y1 .. in pixels."""
GROUND_TRUTH = "ground truth"
PREDICTIONS = "predictions"


class RunLengths(TypedDict):
    """A mask as COCO's run-length encoding."""

    size: list[int]
    """[height, width] in pixels."""
    counts: str | bytes | list[int]
    """The lengths of the runs, as a list or compressed."""


class Image(TypedDict, total=False):
    """An image of a ground truth."""

    id: Required[ImageId]
    file_name: str
    width: int
    """In pixels."""
    height: int
    """In pixels."""


class Category(TypedDict, total=False):
    """A category of a ground truth."""

    id: Required[int]
    name: str


class Entry(TypedDict, total=False):
    """An annotation of a ground truth, or a prediction. Each kind of labels reads some of these."""

    id: int
    image_id: ImageId
    score: float
    """How sure a prediction is."""
    kind: str
    """The kind of a round's annotation; it is not part of the format."""
    category_id: int
    bbox: Sequence[float]
    """x y width height in pixels."""
    segmentation: RunLengths | Polygons
    area: float
    """In square pixels."""
    iscrowd: int
    """1 for a region of a whole crowd, else 0."""
    caption: str
    phrase: str
    expression: str
    """Another name for `phrase`."""
    text_id: str | int
    """The text that the phrase stands in."""
    quad: Sequence[float]
    """The four corners of a word, x0 y0 .. x3 y3 in pixels."""
    text: str
    """The letters of a word."""
    question_id: str | int
    answer: str
    """A predicted answer to a question."""
    answers: Sequence[str | Mapping[str, str]]
    """The answers that people gave; the VQA challenge wraps each in a mapping."""


class GroundTruth(TypedDict, total=False):
    """A file of ground truth."""

    images: list[Image]
    annotations: Required[list[Entry]]
    categories: list[Category]


def read(source: object, name: str) -> Any:
    """The content of a JSON file; anything that is not a path is returned as it is.

    Nothing is known of the content before `check` has looked at it, so it has no type.

    Raises:
        ValueError: there is no such file, or it is not JSON.
    """
    if not isinstance(source, str | Path):
        return source
    try:
        return json.loads(Path(source).read_text())
    except FileNotFoundError:
        raise ValueError(f"{name} {source}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} {source}: not JSON ({error})") from None


def check(
    ground_truth: object,
    predictions: object,
    truth_fields: Sequence[str],
    prediction_fields: Sequence[str],
) -> None:
    """Check that every annotation and every prediction has the fields that its metric reads.

    Args:
        ground_truth: what should be a ground truth.
        predictions: what should be a list of predictions.
        truth_fields: the fields of an annotation of the ground truth.
        prediction_fields: the fields of a prediction.

    Raises:
        ValueError: something cannot be scored; the message names the first entry at fault.
    """
    if not isinstance(ground_truth, Mapping) or "annotations" not in ground_truth:
        raise ValueError('ground truth: expected {"images": [...], "annotations": [...]}')
    if not isinstance(predictions, list):
        fields = ", ".join(prediction_fields)
        raise ValueError(f"predictions: expected a list of entries with {fields}")
    _check_fields("ground truth annotations", ground_truth["annotations"], truth_fields)
    _check_fields(PREDICTIONS, predictions, prediction_fields)
    if "image_id" in prediction_fields:
        images = image_ids(cast(GroundTruth, ground_truth))
        _check_images(predictions, set(images))


def _check_fields(name: str, entries: Iterable[Entry], fields: Sequence[str]) -> None:
    for i, entry in enumerate(entries):
        for field in fields:
            if field not in entry:
                raise ValueError(f"{name}[{i}]: no {field!r}; an entry has {', '.join(fields)}")


def _check_images(predictions: Iterable[Entry], images: set[ImageId]) -> None:
    if not images:
        return
    for i, entry in enumerate(predictions):
        image = entry["image_id"]
        if image not in images:
            raise ValueError(f"predictions[{i}]: image_id {image!r} is not in the ground truth")


def image_ids(ground_truth: GroundTruth) -> list[ImageId]:
    """The images of a ground truth: those that it lists, else those that annotations name."""
    listed = [image["id"] for image in ground_truth.get("images", [])]
    if listed:
        return listed
    named = dict.fromkeys(entry["image_id"] for entry in ground_truth["annotations"])
    return list(named)


def images_by_name(ground_truth: GroundTruth) -> dict[str, ImageId]:
    """The id of each image by its file name without folders, and by the id as a string."""
    images = ground_truth.get("images", [])
    ids = {str(image["id"]): image["id"] for image in images}
    for image in images:
        if "file_name" in image:
            ids[base_name(str(image["file_name"]))] = image["id"]
    return ids


def base_name(name: str) -> str:
    """A file's name without its folders."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def grouped(entries: Iterable[Entry], key: Callable[[Entry], Key]) -> dict[Key, list[Entry]]:
    """Entries by key, in their order.

    Args:
        entries: the entries.
        key: from an entry to its key.
    """
    groups: dict[Key, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return groups


def by_image(entry: Entry) -> Key:
    """The key that groups entries by image."""
    return (entry["image_id"],)


def xyxy(box: Sequence[float]) -> tuple[float, float, float, float]:
    """The corners of a box given by x y width height."""
    x, y, width, height = box
    return (x, y, x + width, y + height)


def xywh(box: Sequence[float]) -> list[float]:
    """x y width height of a box given by its corners."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]
