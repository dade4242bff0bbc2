"""A folder of images at any depth, taken by their suffix. Names are relative paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stages.base import SampleError
from stages.ingest import SUFFIXES, Item
from stages.sources.files import Files


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderConfig:
    """`path` is any fsspec URL."""

    path: str


class FolderSource:
    whole: ClassVar[bool] = False

    def __init__(self, config: FolderConfig) -> None:
        self._files = Files(config.path, SUFFIXES)

    def list(self) -> list[str]:
        return self._files.list()

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name, data in zip(names, self._files.read(names), strict=True):
            yield Item(name, failed=data) if isinstance(data, SampleError) else Item(name, data)

    def revision(self, names: Sequence[str]) -> str:
        return ""
