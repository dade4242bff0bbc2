"""Images in folders that are named by their classes, as of ImageNet: CLASS/picture.jpg.

The class of an image is the name of the folder that it lies in, whatever is above, so
`train/n01440764/x.JPEG` works as well as `n01440764/x.JPEG` (`datasets` reads such folders in the
same way: https://huggingface.co/docs/datasets/image_dataset). It enters the run as a human text of
the granularity `label`. An image without such a folder has no label.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stages.base import MAY_CHANGE
from stages.source import SUFFIXES, Item
from stages.sources.coco_file import read_bytes
from stages.sources.files import Files
from stages.sources.labelled_folder import FolderLabels, LabelUse, read_labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFoldersConfig:
    path: str
    """The folder that holds the folders of the classes, any fsspec URL."""

    names: str | None = field(default=None, metadata=MAY_CHANGE)
    """A text file with a folder and the name of its class a line, such as ImageNet's
    LOC_synset_mapping.txt, any fsspec URL; null: the folders are named by their classes."""


class ClassFoldersSource:
    """The images of a folder of folders."""

    whole: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: ClassFoldersConfig) -> None:
        self.config = config
        self._files = Files(config.path, SUFFIXES)
        self._names: dict[str, str] = {}
        if config.names:
            self._names = read_names(f"source.names={config.names}", config.names)

    def list(self) -> list[str]:
        """All names. Images without a class, and folders that the names lack, are told here."""
        names = self._files.list()
        where = f"source.path={self.config.path}"
        without = [name for name in names if "/" not in name]
        if without:
            logging.getLogger("fld").warning(
                "%s: %d images lie in no folder of a class and have no label; the first is %s",
                where,
                len(without),
                without[0],
            )
        unknown = {folder_of(name) for name in names} - self._names.keys() - {""}
        if self._names and unknown:
            logging.getLogger("fld").warning(
                "source.names=%s: %d folders are not in it, such as %s; they are the labels "
                "themselves",
                self.config.names,
                len(unknown),
                min(unknown),
            )
        return names

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        yield from read_labelled(self._files, names, self._labels_of, LabelUse())

    def revision(self, names: Sequence[str]) -> str:
        if not self._names:
            # The names of the images hold their classes.
            return ""
        classes = [self._class_of(name) for name in names]
        return hashlib.sha256(json.dumps(classes).encode()).hexdigest()

    def files_of(self, name: str) -> tuple[str, ...]:
        return (name,)

    def stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def _labels_of(self, name: str) -> FolderLabels:
        class_ = self._class_of(name)
        return FolderLabels(names=(class_,) if class_ else ())

    def _class_of(self, name: str) -> str:
        folder = folder_of(name)
        return self._names.get(folder, folder)


def folder_of(name: str) -> str:
    """The folder that a file lies in, without those above; "" if it lies in none."""
    return name.rpartition("/")[0].rpartition("/")[2]


def read_names(where: str, url: str) -> dict[str, str]:
    """The names of classes by their folders: on each line a folder, a space or tab, and the name.

    Raises:
        ValueError: it cannot be read, or a line has no name.
    """
    names = {}
    text = read_bytes(where, url).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        words = line.strip().split(maxsplit=1)
        if len(words) < 2:
            raise ValueError(f"{where}: line {number} has no name behind {words[0]}")
        names[words[0]] = words[1]
    return names
