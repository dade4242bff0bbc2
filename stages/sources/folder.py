"""A folder of images at any depth, taken by their suffix. Names are relative paths."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stages.base import SampleError
from stages.ingest import SUFFIXES, Item
from stages.sources.files import Files

MOST_KINDS = 10  # to name


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderConfig:
    """`path` is any fsspec URL."""

    path: str


class FolderSource:
    whole: ClassVar[bool] = False

    def __init__(self, config: FolderConfig) -> None:
        self._files, self.config = Files(config.path, SUFFIXES), config

    def list(self) -> list[str]:
        names = self._files.list()
        if left_out := self._files.left_out:
            told = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common(MOST_KINDS))
            logging.getLogger("fld").warning(
                "source.path=%s: %d files are no images by their names and left out: %s",
                self.config.path,
                left_out.total(),
                told,
            )
        return names

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name, data in zip(names, self._files.read(names), strict=True):
            yield Item(name, failed=data) if isinstance(data, SampleError) else Item(name, data)

    def revision(self, names: Sequence[str]) -> str:
        return ""
