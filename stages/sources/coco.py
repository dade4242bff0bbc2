"""Images with COCO annotations: boxes, masks and captions made by people.

They enter the run as labels, or they are truth to measure against. Labels are annotations of source
`human`, which no stage changes or drops: a box with its category, its mask and COCO's own id, or a
caption as a brief text. Keypoints are ignored, while the person's box stays. A crowd (`iscrowd`) is
not a single object: it comes in dropped with the reason `crowd`, is kept for the way back to COCO,
and is used for nothing else. An entry that makes no sense comes in dropped, too. Coordinates are on
the pixels of the file, before any EXIF orientation, unless `upright` says otherwise.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Required, TypedDict, TypeGuard

from pipeline.schema import CROWD, HUMAN, Annotations, Region, Text
from stages.base import MAY_CHANGE, SampleError
from stages.ingest import SUFFIXES, Item, SourceIds
from stages.sources.alt import encodable
from stages.sources.coco_ids import add_ids
from stages.sources.files import Files, printable
from stages.sources.shapes import Size, box_of, is_number, mask_of

UNKNOWN_CATEGORY, MALFORMED_CAPTION = "unknown_category", "malformed_caption"
# The box of a label that has none.
NO_BOX = (0.0, 0.0, 0.0, 0.0)

# One object of COCO's JSON; nothing is known about its values.
Entry = Mapping[str, object]


class CocoFile(TypedDict, total=False):
    """The lists of a COCO file; nothing is known about what they hold."""

    images: Required[list[object]]
    annotations: Required[list[object]]
    categories: list[object] | None


# The names of categories by their ids.
Categories = Mapping[int | str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoConfig:
    """A corrected file redoes the shards whose labels changed; new images in it come in, too.

    At least one of `instances` and `captions` must be given. Each worker of ingest holds them in
    memory.
    """

    path: str
    """The folder of images, any fsspec URL."""

    instances: str | None = field(default=None, metadata=MAY_CHANGE)
    """COCO's JSON file of boxes and masks, any fsspec URL."""

    captions: str | None = field(default=None, metadata=MAY_CHANGE)
    """COCO's JSON file of captions, any fsspec URL."""

    annotations: Literal["labels", "truth"] = "labels"
    """Whether they enter the run as human labels, or are truth to measure against."""

    upright: bool = False
    """Whether they were drawn on the pictures as viewers turn them by their EXIF orientation."""


@dataclass(slots=True)
class CocoImage:
    """The entries of one image."""

    size: Size | None
    """(width, height) in pixels; None if the file does not say it."""

    instances: list[Entry] = field(default_factory=list)
    """Boxes and masks."""

    captions: list[Entry] = field(default_factory=list)
    """Captions."""


class CocoSource:
    """The images that COCO's JSON files list."""

    whole: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ("texts", "regions")

    def __init__(self, config: CocoConfig) -> None:
        if not (config.instances or config.captions):
            raise ValueError(
                "source.instances and source.captions: neither is set; give a COCO JSON file"
            )
        self.config = config
        self._files = Files(config.path, SUFFIXES)
        self._images: dict[str, CocoImage] = {}
        self._categories: dict[int | str, str] = {}
        self._ids = SourceIds()
        for kind, url in (("instances", config.instances), ("captions", config.captions)):
            if url:
                self._read_file(kind, url)

    def list(self) -> list[str]:
        return sorted(self._images)

    def files_of(self, name: str) -> tuple[str, ...]:
        return (name,)

    def stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name, data in zip(names, self._files.read(names), strict=True):
            image = self._images.get(name, CocoImage(None))
            labels = labels_of(image, self._categories)
            is_truth = self.config.annotations == "truth"
            yield Item(
                name,
                data=None if isinstance(data, SampleError) else data,
                failed=data if isinstance(data, SampleError) else None,
                size=image.size,
                given=Annotations() if is_truth else labels,
                truth=labels if is_truth else None,
                upright=self.config.upright,
            )

    def revision(self, names: Sequence[str]) -> str:
        entries = []
        category_ids = set()
        for name in names:
            image = self._images.get(name, CocoImage(None))
            entries.append((image.size, image.instances, image.captions))
            for entry in image.instances:
                category_ids.add(_category_id(entry))
        categories = []
        for id_, name in self._categories.items():
            if id_ in category_ids:
                categories.append((str(id_), name))
        content = [
            entries,
            sorted(categories),
            self.config.annotations,
            self.config.upright,
        ]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def ids(self) -> SourceIds:
        """The ids of the images, and the categories, as they stand in the files."""
        return self._ids

    def _read_file(self, kind: str, url: str) -> None:
        where = f"source.{kind}={url}"
        value = _load(where, url)
        add_ids(self._ids, value)
        names = self._add_images(where, value["images"])
        self._add_categories(where, value.get("categories") or [])
        self._add_entries(where, kind, value["annotations"], names)

    def _add_images(self, where: str, images: Sequence[object]) -> dict[str, str]:
        """Add what a file lists; returns the image's name by its id."""
        names: dict[str, str] = {}
        for image in images:
            if (
                not isinstance(image, dict)
                or not isinstance(image.get("file_name"), str)
                or "id" not in image
            ):
                shown = str(image)[:100]
                raise ValueError(f"{where}: an image without file_name or id: {shown}")
            name = printable(image["file_name"])
            names[str(image["id"])] = name
            self._images.setdefault(name, CocoImage(_size_of(image)))
        return names

    def _add_categories(self, where: str, categories: Sequence[object]) -> None:
        for category in categories:
            if (
                not isinstance(category, dict)
                or not isinstance(category.get("id"), int | str)
                or "name" not in category
            ):
                shown = str(category)[:100]
                raise ValueError(f"{where}: a category without id or name: {shown}")
            self._categories[category["id"]] = str(category["name"])

    def _add_entries(
        self, where: str, kind: str, entries: Sequence[object], names: Mapping[str, str]
    ) -> None:
        left_out = 0
        for entry in entries:
            if not isinstance(entry, dict):
                left_out += 1
                continue
            name = names.get(str(entry.get("image_id")))
            if name is None:
                left_out += 1
            elif kind == "instances":
                self._images[name].instances.append(entry)
            else:
                self._images[name].captions.append(entry)
        if left_out:
            logging.getLogger("fld").warning(
                "%s: %d annotations of images that it does not list are left out", where, left_out
            )


def _size_of(image: Entry) -> Size | None:
    width = image.get("width")
    height = image.get("height")
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    return None


def labels_of(image: CocoImage, categories: Categories) -> Annotations:
    """The entries of an image as annotations; what makes no sense is dropped with a reason."""
    ids = set[str]()
    labels = Annotations()
    for entry in image.instances:
        id_ = _new_id("regions", entry, ids)
        labels.regions.append(_region(entry, id_, image.size, categories))
    for entry in image.captions:
        id_ = _new_id("texts", entry, ids)
        labels.texts.append(_text(entry, id_))
    return labels


def _region(entry: Entry, id_: str, size: Size | None, categories: Categories) -> Region:
    category = None
    category_id = _category_id(entry)
    if category_id is not None:
        category = categories.get(category_id)
    box, box_problem = box_of(entry.get("bbox"), size)
    mask, mask_problem = mask_of(entry.get("segmentation"), size)
    dropped = box_problem or mask_problem
    if dropped is None and category is None:
        dropped = UNKNOWN_CATEGORY
    if dropped is None and entry.get("iscrowd") == 1:
        dropped = CROWD
    return Region(
        id=id_,
        source=HUMAN,
        box=box or NO_BOX,
        phrase=category or "",
        mask=mask,
        dropped=dropped,
    )


def _text(entry: Entry, id_: str) -> Text:
    caption = entry.get("caption")
    text = encodable(caption) if isinstance(caption, str) else ""
    dropped = None if text.strip() else MALFORMED_CAPTION
    return Text(id=id_, source=HUMAN, granularity="brief", text=text, dropped=dropped)


def _new_id(kind: str, entry: Entry, taken: set[str]) -> str:
    """An id of its own for an entry, which joins `taken`.

    It holds COCO's own id, so that a label keeps its name when others are added. An entry without
    an id gets a number.
    """
    number = f"x{len(taken)}"
    own = entry.get("id")
    if not is_number(own):
        own = number
    id_ = f"{HUMAN}.{kind}.{own}"
    if id_ in taken:
        id_ += number
    taken.add(id_)
    return id_


def _category_id(entry: Entry) -> int | str | None:
    """The id of an entry's category; None if it is of no use as one."""
    id_ = entry.get("category_id")
    return id_ if isinstance(id_, int | str) else None


def _load(where: str, url: str) -> CocoFile:
    """The content of a COCO file.

    Raises:
        ValueError: there is no such file, or it is not a COCO file.
    """
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            value = json.load(file)
    except FileNotFoundError:
        raise ValueError(f"{where}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error})") from None
    if not _is_coco(value):
        raise ValueError(f'{where}: expected {{"images": [...], "annotations": [...]}}')
    return value


def _is_coco(value: object) -> TypeGuard[CocoFile]:
    """Whether a value of JSON has the lists of a COCO file; captions come without categories."""
    if not isinstance(value, dict):
        return False
    has_images = isinstance(value.get("images"), list)
    has_annotations = isinstance(value.get("annotations"), list)
    may_have_categories = isinstance(value.get("categories"), list | None)
    return has_images and has_annotations and may_have_categories
