"""COCO files: the one place that says what their ids, names and sizes mean.

The source, `fld evaluate` and `fld calibrate` read them with this. An id is a whole number or a
text: 1, 1.0 and "1" are the same id. Two images with one id are refused if their names differ, and
so are two categories, because nobody can know what belongs to them. Names of categories lose the
spaces around them. Nothing else of an entry is judged here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Required, TypedDict, TypeGuard

from stages.remote import opened
from stages.sources.coco_names import plain
from stages.sources.files import printable
from stages.sources.shapes import Size, is_number

# A whole number as JSON writes it.
WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
# How much of a value is shown in a message.
SHOWN = 100

# One object of COCO's JSON; nothing is known about its values.
Entry = Mapping[str, object]


class CocoContent(TypedDict, total=False):
    """The lists of a COCO file; nothing is known about what they hold."""

    images: Required[list[object]]
    annotations: Required[list[object]]
    categories: list[object] | None
    info: object


@dataclass(slots=True)
class CocoImage:
    """An image that a COCO file lists."""

    id: str
    """Its id, as `id_of` writes it."""

    name: str
    """Its `file_name`; empty if the file does not say it."""

    size: Size | None
    """(width, height) in pixels; None if the file does not say it in a usable way."""


@dataclass(slots=True)
class CocoEntries:
    """The annotations of a COCO file by their images."""

    by_image: dict[str, list[Entry]] = field(default_factory=dict)
    """The entries of each listed image by its id, in their order."""

    without_image: int = 0
    """How many entries belong to no image that the file lists."""

    repeated_ids: int = 0
    """How many entries have the id of an earlier one."""


def id_of(value: object) -> str | None:
    """An id in the form in which ids are compared; None if a value of JSON is of no use as one.

    Whole numbers, as 1, 1.0 or "1", are the same id. Any other text is an id by itself.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if is_number(value) and value.is_integer() else None
    if isinstance(value, str):
        return printable(value.strip()) or None
    return None


def number_of(value: object) -> int | None:
    """A whole number that may be written as 64, 64.0 or "64"; None if it is something else."""
    text = id_of(value)
    if text is None or not WHOLE_NUMBER.fullmatch(text) or len(text) > 16:
        return None
    return int(text)


def size_of(image: Entry) -> Size | None:
    """(width, height) of an image in pixels; None if it does not say a usable size."""
    width = number_of(image.get("width"))
    height = number_of(image.get("height"))
    if width is None or height is None or width < 1 or height < 1:
        return None
    return width, height


def images_of(where: str, images: Sequence[object], need_names: bool) -> dict[str, CocoImage]:
    """The images that a file lists, by their ids.

    Args:
        where: names the file, for messages.
        images: the list `images` of the file.
        need_names: whether each image must have a `file_name`.

    Raises:
        ValueError: an image has no id or no name, or two have one id and different names.
    """
    found: dict[str, CocoImage] = {}
    for image in images:
        id_ = id_of(image.get("id")) if isinstance(image, dict) else None
        if not isinstance(image, dict) or id_ is None or (need_names and not _name_of(image)):
            needed = "file_name or id" if need_names else "id"
            raise ValueError(f"{where}: an image without {needed}: {str(image)[:SHOWN]}")
        name = _name_of(image)
        size = size_of(image)
        earlier = found.setdefault(id_, CocoImage(id_, name, size))
        earlier.name = earlier.name or name
        if name and plain(earlier.name) != plain(name):
            raise ValueError(
                f"{where}: images {earlier.name} and {name} have the same id {id_}, so it is not"
                " known whose annotations are whose; give each image an id of its own"
            )
        earlier.size = earlier.size or size
    return found


def _name_of(image: Entry) -> str:
    """The file name of an image, empty if it has none."""
    name = image.get("file_name")
    return printable(name) if isinstance(name, str) else ""


def categories_of(
    where: str, categories: Sequence[object], need_names: bool = True
) -> dict[str, str]:
    """The names of the categories that a file lists, by their ids; empty if one has none.

    Args:
        where: names the file, for messages.
        categories: the list `categories` of the file.
        need_names: whether each category must have a name.

    Raises:
        ValueError: a category has no id or no name, or two have one id and different names.
    """
    found: dict[str, str] = {}
    for category in categories:
        id_ = id_of(category.get("id")) if isinstance(category, dict) else None
        name = id_of(category.get("name")) or "" if isinstance(category, dict) else ""
        if id_ is None or (need_names and not name):
            raise ValueError(f"{where}: a category without id or name: {str(category)[:SHOWN]}")
        if found.setdefault(id_, name) != name:
            raise ValueError(
                f"{where}: categories {found[id_]} and {name} have the same id {id_}, so it is not"
                " known which objects are which; give each category an id of its own"
            )
    return found


def entries_of(annotations: Sequence[object], image_ids: Mapping[str, object]) -> CocoEntries:
    """The annotations of a file by the images that it lists."""
    result = CocoEntries()
    taken = set[str]()
    for entry in annotations:
        image_id = id_of(entry.get("image_id")) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or image_id is None or image_id not in image_ids:
            result.without_image += 1
            continue
        own = id_of(entry.get("id"))
        if own is not None:
            result.repeated_ids += own in taken
            taken.add(own)
        result.by_image.setdefault(image_id, []).append(entry)
    return result


def stated_upright(content: Mapping[str, object]) -> bool | None:
    """Whether a file says that its labels are drawn on upright pictures: `info.upright`.

    `fld export coco` writes it. None if the file says nothing.
    """
    info = content.get("info")
    upright = info.get("upright") if isinstance(info, dict) else None
    return upright if isinstance(upright, bool) else None


def load(where: str, url: str) -> CocoContent:
    """The content of a COCO file.

    Args:
        where: names the file, for messages.
        url: any fsspec URL.

    Raises:
        ValueError: there is no such file, or it is not a COCO file.
    """
    value = read_json(where, url)
    if not is_coco(value):
        raise ValueError(f'{where}: expected {{"images": [...], "annotations": [...]}}')
    return value


def read_json(where: str, url: str) -> object:
    """The value in a JSON file; arguments as of `load`.

    Raises:
        ValueError: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(read_bytes(where, url))
    except (ValueError, RecursionError) as error:
        if isinstance(error, MissingFile):
            raise
        raise ValueError(f"{where}: not JSON ({error})") from None


class MissingFile(ValueError):
    """There is no such file, or it cannot be read."""


def read_bytes(where: str, url: str) -> bytes:
    """The content of any file; arguments as of `load`.

    Raises:
        MissingFile: there is no such file, or it cannot be read.
    """
    try:
        with opened(url) as file:
            return file.read()
    except FileNotFoundError:
        raise MissingFile(f"{where}: no such file") from None
    except OSError as error:
        raise MissingFile(f"{where}: cannot be read ({error})") from None


def is_coco(value: object) -> TypeGuard[CocoContent]:
    """Whether a value of JSON has the lists of a COCO file; captions come without categories."""
    if not isinstance(value, dict):
        return False
    has_images = isinstance(value.get("images"), list)
    has_annotations = isinstance(value.get("annotations"), list)
    may_have_categories = isinstance(value.get("categories"), list | None)
    return has_images and has_annotations and may_have_categories
