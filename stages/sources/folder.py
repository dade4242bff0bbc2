"""A folder of images at any depth, recognised by their suffix. Names are relative paths."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stages.base import SampleError
from stages.source import SUFFIXES, Item
from stages.sources.files import Files

# So many kinds of other files are named in the warning.
MAX_KINDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderConfig:
    path: str
    """The folder, any fsspec URL."""


class FolderSource:
    """The images of a folder; other files are left out with a warning."""

    whole: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: FolderConfig) -> None:
        self.config = config
        self._files = Files(config.path, SUFFIXES)

    def list(self) -> list[str]:
        names = self._files.list()
        left_out = self._files.left_out
        if left_out:
            counts = [f"{count} {kind}" for kind, count in left_out.most_common(MAX_KINDS)]
            logging.getLogger("fld").warning(
                "source.path=%s: %d files are no images by their names and left out: %s",
                self.config.path,
                left_out.total(),
                ", ".join(counts),
            )
        return names

    def files_of(self, name: str) -> tuple[str, ...]:
        return (name,)

    def stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name, data in zip(names, self._files.read(names), strict=True):
            if isinstance(data, SampleError):
                yield Item(name, failed=data)
            else:
                yield Item(name, data)

    def revision(self, names: Sequence[str]) -> str:
        return ""
