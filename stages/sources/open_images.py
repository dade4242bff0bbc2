"""Images with the CSV files of Open Images: boxes, and labels of whole images.

`IMAGEID.jpg` is the image of an `ImageID`, in whatever folder it lies. All images of the folder
come in; rows of other images are left out, so a part of the data set is enough. Boxes are in shares
of the picture. One with `IsGroupOf` is a crowd. Labels of whole images that people have confirmed
(`Confidence` 1) are texts of the granularity `label`. Source of the format:
https://storage.googleapis.com/openimages/web/download_v7.html.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from stages.base import MAY_CHANGE
from stages.source import SUFFIXES, Item
from stages.sources.coco_file import read_bytes
from stages.sources.files import Files
from stages.sources.labelled_folder import (
    FolderLabels,
    LabelUse,
    ShareBox,
    read_labelled,
    stem_of,
)
from stages.sources.open_images_csv import Rows, read_rows

BOX_COLUMNS = ("XMin", "YMin", "XMax", "YMax")
GROUP = "IsGroupOf"
CONFIDENCE = "Confidence"
# How codes of classes begin.
CODE = "/m/"
# Raise it when the same rows give other labels: shards with the earlier ones are then redone.
LABELS_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImagesConfig:
    """A corrected file redoes the labels of the shards that it is about; new images come in, too.

    At least one of `boxes` and `labels` must be given. Each worker of ingest holds them in memory.
    """

    path: str
    """The folder of images, any fsspec URL."""

    boxes: str | None = field(default=None, metadata=MAY_CHANGE)
    """The CSV file of boxes (...-annotations-bbox.csv), any fsspec URL."""

    labels: str | None = field(default=None, metadata=MAY_CHANGE)
    """The CSV file of labels of whole images (...-human-imagelabels.csv), any fsspec URL."""

    classes: str | None = field(default=None, metadata=MAY_CHANGE)
    """The CSV file of the names of the classes (class-descriptions...csv), any fsspec URL; null:
    the files have names in place of codes."""

    annotations: Literal["labels", "truth"] = "labels"
    """Whether they enter the run as human labels, or are truth to measure against."""

    upright: bool = field(default=False, metadata=MAY_CHANGE)
    """Whether they were drawn on the pictures as viewers turn them by their EXIF orientation, not
    on the pixels of the files."""


class OpenImagesSource:
    """The images of a folder, with the rows about them."""

    whole: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ("texts", "regions")

    def __init__(self, config: OpenImagesConfig) -> None:
        if not (config.boxes or config.labels):
            raise ValueError("source.boxes and source.labels: neither is set; give a CSV file")
        self.config = config
        self._files = Files(config.path, SUFFIXES)
        self._boxes = Rows()
        self._labels = Rows()
        if config.boxes:
            where = f"source.boxes={config.boxes}"
            self._boxes = read_rows(where, config.boxes, BOX_COLUMNS, (GROUP,))
        if config.labels:
            where = f"source.labels={config.labels}"
            self._labels = read_rows(where, config.labels, (CONFIDENCE,))
        self._classes: dict[str, str] = {}
        if config.classes:
            self._classes = read_classes(f"source.classes={config.classes}", config.classes)

    def list(self) -> list[str]:
        """All images. What a user must know about the files is told here.

        Raises:
            ValueError: the folder is not there, has no images, or no row is about one of them.
        """
        names = self._files.list()
        stems = {stem_of(name) for name in names}
        if not self._boxes.has_any(stems) and not self._labels.has_any(stems):
            raise ValueError(
                f"source.path={self.config.path}: no row of the CSV files is about an image in it; "
                f"an ImageID is a file name without its suffix, such as {min(stems)}"
            )
        codes = [*self._boxes.classes, *self._labels.classes]
        unnamed = sorted({code for code in codes if code.startswith(CODE)} - self._classes.keys())
        if unnamed:
            logging.getLogger("fld").warning(
                "source.classes=%s: %d classes have no name, such as %s; give the file of class "
                "descriptions",
                self.config.classes or "null",
                len(unnamed),
                unnamed[0],
            )
        return names

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        use = LabelUse(self.config.annotations, self.config.upright)
        yield from read_labelled(self._files, names, self._labels_of, use)

    def revision(self, names: Sequence[str]) -> str:
        content: list[object] = [LABELS_VERSION, self.config.annotations, self.config.upright]
        for name in names:
            for rows in (self._boxes, self._labels):
                own = [(self._name(row.code), row.numbers) for row in rows.of(stem_of(name))]
                content.append(own)
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def files_of(self, name: str) -> tuple[str, ...]:
        return (name,)

    def stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def _labels_of(self, name: str) -> FolderLabels:
        stem = stem_of(name)
        boxes = []
        for row in self._boxes.of(stem):
            left, top, right, bottom, group = row.numbers
            box = (left, top, right, bottom)
            boxes.append(ShareBox(name=self._name(row.code), box=box, is_crowd=group == 1))
        names = []
        for row in self._labels.of(stem):
            if row.numbers[0] == 1:
                names.append(self._name(row.code))
        return FolderLabels(boxes, list(dict.fromkeys(names)))

    def _name(self, code: str) -> str:
        return self._classes.get(code, code)


def read_classes(where: str, url: str) -> dict[str, str]:
    """The names of classes by their codes; a heading is no class.

    Raises:
        ValueError: it cannot be read, or has no two columns.
    """
    text = read_bytes(where, url).decode("utf-8-sig", "replace")
    classes = {}
    for row in csv.reader(io.StringIO(text)):
        if len(row) < 2:
            raise ValueError(f"{where}: expected two columns, a code and a name, not {row}")
        classes[row[0].strip()] = row[1].strip()
    classes.pop("LabelName", None)
    return classes
