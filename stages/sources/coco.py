"""Images with COCO annotations: boxes, masks and captions made by people.

They enter the run as labels, or they are truth to measure against. Labels are annotations of source
`human`, which no stage changes or drops: a box with its category, its mask and COCO's own id, or a
caption as a brief text. Keypoints are ignored, while the person's box stays. A crowd (`iscrowd`) is
not a single object: it comes in dropped with the reason `crowd`, is kept for the way back to COCO,
and is used for nothing else. An entry that makes no sense comes in dropped, too. What ids, names
and sizes mean says `coco_file.py`; on which pixels the labels are drawn decides `coco_grid.py`.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

from pipeline.schema import Annotations
from stages.base import MAY_CHANGE, SampleError
from stages.source import SUFFIXES, Item, SourceIds
from stages.sources.coco_checks import Checks
from stages.sources.coco_file import (
    CocoContent,
    categories_of,
    entries_of,
    id_of,
    images_of,
    load,
    stated_upright,
)
from stages.sources.coco_grid import MAX_HEADERS, Grid, fit, header_of, headers
from stages.sources.coco_ids import add_ids
from stages.sources.coco_labels import CocoLabels, SourceImage
from stages.sources.coco_names import Matches, matched, plain
from stages.sources.files import Files
from stages.upright import upright_by_size

AMBIGUOUS_NAME = "ambiguous_name"
# Raise it when the same file gives other labels: shards with the earlier ones are then redone.
LABELS_VERSION = 3
INSTANCES: Literal["instances"] = "instances"
CAPTIONS: Literal["captions"] = "captions"
# How a PNG begins.
PNG = b"\x89PNG"


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

    upright: bool | None = field(default=None, metadata=MAY_CHANGE)
    """Whether they were drawn on the pictures as viewers turn them by their EXIF orientation (true)
    or on the pixels of the files (false). With null the sizes in the file decide, which reads the
    headers of up to 5000 pictures; then new images in the file redo the labels of the shards."""


@dataclass(frozen=True, slots=True)
class CocoFiles:
    """What is the same for all label files of a source."""

    path: str
    """The folder of images."""

    annotations: Literal["labels", "truth"]
    """As of `CocoConfig`."""

    upright: bool | None
    """As of `CocoConfig`."""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A file of labels in COCO's form."""

    where: str
    """The setting that names it, for messages."""

    kind: Literal["instances", "captions"]
    """What its annotations are."""

    content: CocoContent


class CocoSource:
    """The images that COCO's JSON files list. Sources of other files in that form begin with it."""

    whole: ClassVar[bool] = False
    listed_by: ClassVar[tuple[str, ...]] = ("instances", "captions")
    """The settings of the files that say which images there are."""
    gives: ClassVar[tuple[str, ...]] = ("texts", "regions")

    def __init__(self, config: CocoConfig) -> None:
        if not (config.instances or config.captions):
            raise ValueError(
                "source.instances and source.captions: neither is set; give a COCO JSON file"
            )
        files = []
        for kind, url in ((INSTANCES, config.instances), (CAPTIONS, config.captions)):
            if url:
                where = f"source.{kind}={url}"
                files.append(CocoFile(where, kind, load(where, url)))
        self._begin(CocoFiles(config.path, config.annotations, config.upright), files)

    def _begin(self, config: CocoFiles, files: Sequence[CocoFile]) -> None:
        """Read the content of COCO files, or of files in the form of COCO's."""
        self.config = config
        self._files = Files(config.path, SUFFIXES)
        self._images: dict[str, SourceImage] = {}
        self._categories: dict[str, str] = {}
        self._upright = config.upright
        self._checks = Checks()
        self._ids = SourceIds()
        # The image of each file name, however the files write it.
        self._names: dict[str, str] = {}
        # The file of boxes, "" if there is none.
        self._boxes_in = ""
        for file in files:
            if file.kind == INSTANCES:
                self._boxes_in = file.where
            self._add_file(file)

    def list(self) -> list[str]:
        """All names. What a user must know about the files is told here, because it is told once.

        Raises:
            ValueError: the folder is not there, or has no images.
        """
        if not self._matches.found:
            # Raises if there is no such folder, or nothing in it.
            self._files.list()
        self._checks.names(f"source.path={self.config.path}", self._images, self._matches)
        if self._boxes_in and self._upright is not True:
            self._checks.grid(self._boxes_in, self._grid)
            self._checks.boxes(self._boxes_in, self._grid, self._images)
        for message in self._checks.messages:
            logging.getLogger("fld").warning("%s", message)
        return sorted(self._images)

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        places = [self._place(name) for name in names]
        contents = self._files.read(place for place in places if isinstance(place, str))
        for name, place in zip(names, places, strict=True):
            data = next(contents) if isinstance(place, str) else place
            yield self._item(name, data)

    def _item(self, name: str, data: bytes | SampleError) -> Item:
        """One image with its labels; `data` is its file, or why there is none."""
        image = self._images.get(name, SourceImage(None))
        labels = CocoLabels(self._categories, image.instances, image.captions)
        is_truth = self.config.annotations == "truth"
        otherwise = None
        if self._upright is None and image.instances and self._needs_grid(data, image):
            otherwise = self._grid.is_upright
        return Item(
            name,
            data=None if isinstance(data, SampleError) else data,
            failed=data if isinstance(data, SampleError) else None,
            size=image.drawn_size(),
            given=Annotations() if is_truth else labels,
            truth=labels if is_truth else None,
            upright=self._upright,
            otherwise_upright=otherwise,
        )

    def revision(self, names: Sequence[str]) -> str:
        entries = []
        category_ids = set()
        for name in names:
            image = self._images.get(name, SourceImage(None))
            entries.append((image.size, image.instances, image.captions))
            for entry in image.instances:
                category_ids.add(id_of(entry.get("category_id")))
        categories = []
        for id_, name in self._categories.items():
            if id_ in category_ids:
                categories.append((id_, name))
        content = [
            LABELS_VERSION,
            entries,
            sorted(categories),
            self.config.annotations,
            self._upright,
            self._grid_inputs,
        ]
        return _digest(content)

    def ids(self) -> SourceIds:
        """The ids of the images, and the categories, as they stand in the files."""
        return self._ids

    def files_of(self, name: str) -> tuple[str, ...]:
        return (self._matches.found.get(name, name),)

    def stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def _add_file(self, file: CocoFile) -> None:
        where, content = file.where, file.content
        add_ids(self._ids, content)
        images = images_of(where, content["images"], need_names=True)
        entries = entries_of(content["annotations"], images)
        self._checks.entries(where, entries)
        for image in images.values():
            name = self._names.setdefault(plain(image.name), image.name)
            found = self._images.setdefault(name, SourceImage(None))
            found.size = found.size or image.size
            own = entries.by_image.get(image.id, [])
            if file.kind == INSTANCES:
                found.instances += own
            else:
                found.captions += own
        if file.kind == INSTANCES:
            self._categories = categories_of(where, content.get("categories") or [])
            self._checks.outlines(where, self._images)
            if self._upright is None:
                self._upright = stated_upright(content)

    @cached_property
    def _matches(self) -> Matches:
        """The file of each image."""
        names = list(self._images)
        there = []
        if self._files.local:
            there = [name for name in names if self._files.exists(name)]
        if len(there) < len(names):
            # If there is no such folder, `list` says so, and so does an attempt to read.
            with suppress(ValueError):
                there += self._files.list()
        return matched(names, there)

    def _place(self, name: str) -> str | SampleError:
        """The file of an image, or why it is not known."""
        if self._files.local and self._files.exists(name):
            return name
        if name in self._matches.ambiguous:
            return SampleError(AMBIGUOUS_NAME, " or ".join(self._matches.ambiguous[name]))
        return self._matches.found.get(name, name)

    @cached_property
    def _grid(self) -> Grid:
        """On which pixels the labels are drawn, by the headers of the pictures."""
        grid = Grid(told=self._upright)
        names = self._evidence
        places = [self._matches.found.get(name, name) for name in names]
        for name, picture in zip(names, headers(self._files, places), strict=True):
            if picture is not None:
                image = self._images[name]
                grid.add(name, image.drawn_size(), picture, bool(image.instances))
        return grid

    @cached_property
    def _evidence(self) -> Sequence[str]:
        """The names of the pictures that decide on the grid.

        If somebody says which it is, only those whose boxes do not fit can raise a doubt.
        """
        names = []
        for name, image in sorted(self._images.items()):
            is_odd = image.size is not None and not fit(image.boxes(), image.size)
            if self._upright is None or is_odd:
                names.append(name)
        return names[:MAX_HEADERS]

    @cached_property
    def _grid_inputs(self) -> str:
        """A digest of what decides on the grid, empty if something else does.

        It stands for the pictures as well, which do not change under their names. So the labels of
        a shard can be compared without reading a picture.
        """
        if self._upright is not None or not self._boxes_in:
            return ""
        return _digest([(name, self._images[name].drawn_size()) for name in self._evidence])

    def _needs_grid(self, data: bytes | SampleError, image: SourceImage) -> bool:
        """Whether the grid of the whole file decides on an image.

        That is so if the picture is turned, and its own size does not tell.
        """
        if isinstance(data, SampleError):
            # Its labels may be corrected although the picture is gone.
            return True
        picture = header_of(io.BytesIO(data))
        if picture is None:
            return False
        if picture.orientation == 1:
            # A PNG may have its EXIF data behind its pixels.
            return data.startswith(PNG) and b"eXIf" in data
        return upright_by_size(image.drawn_size(), picture) is None


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
