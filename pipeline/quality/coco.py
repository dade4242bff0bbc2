"""COCO-style files: reading them and checking them.

Ground truth is `{"images": [{"id", ...}], "annotations": [{"image_id", ...}], "categories": [..]}`,
where an image may hold only its `id`. Predictions are a list of `{"image_id", ...}`. Boxes are
x y width height in pixels. Ids and outlines mean what they mean to the source of COCO files
(`stages.sources.coco_file`): 1, 1.0 and "1" are the same id.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Required, TypedDict, cast

from stages.sources.coco_file import CocoImage, categories_of, id_of, images_of
from stages.sources.shapes import outline_of

ImageId = str | int
"""An id of an image or of a category; `read` makes a text of each."""
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

    id: Required[ImageId]
    name: str


class Entry(TypedDict, total=False):
    """An annotation of a ground truth, or a prediction. Each kind of labels reads some of these."""

    id: int
    image_id: ImageId
    score: float
    """How sure a prediction is."""
    kind: str
    """The kind of a round's annotation; it is not part of the format."""
    category_id: ImageId
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
    info: object


def read(source: object, name: str) -> Any:
    """The content of a JSON file; anything that is not a path is taken as its content.

    A ground truth and predictions come back with their ids as texts. Nothing else is known of the
    content before `check` has looked at it, so it has no type.

    Args:
        source: the name of a JSON file, or its content.
        name: what it is, for messages; `GROUND_TRUTH`, `PREDICTIONS` or something else.

    Raises:
        ValueError: there is no such file, it is not JSON, or two images or two categories of a
            ground truth have one id.
    """
    where = name
    if isinstance(source, str | Path):
        where = f"{name} {source}"
        source = _load(source, where)
    if name == GROUND_TRUTH and isinstance(source, Mapping):
        return _read_truth(where, source)
    if name == PREDICTIONS and isinstance(source, list):
        return [_with_ids(entry) for entry in source]
    return source


def _load(path: str | Path, where: str) -> object:
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ValueError(f"{where}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error})") from None


def _read_truth(where: str, content: Mapping[str, object]) -> Mapping[str, object]:
    """A ground truth with ids as texts, sizes as numbers, and without what makes no sense.

    Annotations of images that it does not list are left out, with a warning.
    """
    for field in ("images", "annotations", "categories"):
        if not isinstance(content.get(field), list | None):
            raise ValueError(f"{where}: `{field}` is no list")
    listed = cast(list[object], content.get("images") or [])
    images = images_of(where, listed, need_names=False)
    truth = {**content, "images": [_listed(image) for image in images.values()]}
    if content.get("categories"):
        found = categories_of(where, cast(list[object], content["categories"]), need_names=False)
        truth["categories"] = [{"id": id_, "name": name} for id_, name in found.items()]
    if isinstance(content.get("annotations"), list):
        truth["annotations"] = _read_entries(where, content["annotations"], images)
    return truth


def _listed(image: CocoImage) -> Image:
    """An image of a ground truth, with what is known of it."""
    listed: Image = {"id": image.id}
    if image.name:
        listed["file_name"] = image.name
    if image.size is not None:
        listed["width"], listed["height"] = image.size
    return listed


def _read_entries(where: str, entries: Any, images: Mapping[str, CocoImage]) -> list[Any]:
    """The annotations of a ground truth without those of images that it does not list."""
    result = []
    left_out = 0
    for entry in map(_with_ids, entries):
        if not isinstance(entry, Mapping):
            raise ValueError(f"{where}: an annotation is no object: {str(entry)[:100]}")
        if images and "image_id" in entry and entry["image_id"] not in images:
            left_out += 1
            continue
        if "segmentation" in entry:
            image = images.get(cast(str, entry.get("image_id")))
            entry = _with_outline(entry, image.size if image else None)
        result.append(entry)
    if left_out:
        logging.getLogger("fld").warning(
            "%s: %d annotations of images that it does not list are left out", where, left_out
        )
    return result


def _with_ids(entry: Any) -> Any:
    """An entry with the ids of its image and its category as texts; what is no id stays."""
    if not isinstance(entry, Mapping):
        return entry
    result = dict(entry)
    for field in ("image_id", "category_id"):
        id_ = id_of(entry.get(field))
        if id_ is not None:
            result[field] = id_
    return result


def _with_outline(entry: Mapping[str, Any], size: tuple[int, int] | None) -> dict[str, Any]:
    """An entry with what makes sense of its segmentation; without any if nothing does."""
    outline = outline_of(entry["segmentation"], size)
    result = dict(entry)
    if not outline:
        del result["segmentation"]
    elif outline.polygons:
        result["segmentation"] = outline.polygons
    return result


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
            if not isinstance(entry, Mapping) or field not in entry:
                raise ValueError(f"{name}[{i}]: no {field!r}; an entry has {', '.join(fields)}")


def _check_images(predictions: Iterable[Entry], images: set[ImageId]) -> None:
    if not images:
        return
    for i, entry in enumerate(predictions):
        image = entry["image_id"]
        if image not in images:
            raise ValueError(f"predictions[{i}]: image_id {image} is not in the ground truth")


def image_ids(ground_truth: GroundTruth) -> list[ImageId]:
    """The images of a ground truth: those that it lists, else those that annotations name."""
    listed = [image["id"] for image in ground_truth.get("images", [])]
    if listed:
        return listed
    named = dict.fromkeys(entry["image_id"] for entry in ground_truth["annotations"])
    return list(named)


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
