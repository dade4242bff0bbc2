"""Tars that img2dataset wrote (`output_format: webdataset`), with the table beside each: NNNNN.tar and NNNNN.parquet.

Its keys are unique over all tars of a folder and are kept; where there are folders of several runs beneath `path`, the
folder's name is in the key. A row of the table that it could not download or resize becomes a
failed sample with its message; one that it counts as done but is not in the tar fails, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from stages.base import SampleError
from stages.ingest import Item
from stages.sources.files import Files
from stages.sources.parquet import opened, rows_of
from stages.sources.tars import SUFFIXES
from stages.sources.webdataset import WebDatasetConfig, WebDatasetSource

NOT_IN_TAR = "not_in_tar"
SUCCESS = "success"
REASONS = {"failed_to_download": "download_failed", "failed_to_resize": "resize_failed"}
OTHER = "download_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Img2DatasetConfig:
    """`path` is img2dataset's output folder, any fsspec URL; `texts` as for WebDataset."""

    path: str
    texts: tuple[str, ...] = ("txt", "json.caption")


class Img2DatasetSource:
    whole: ClassVar[bool] = True

    def __init__(self, config: Img2DatasetConfig) -> None:
        self._files = Files(config.path, SUFFIXES)
        self._tars = WebDatasetSource(
            WebDatasetConfig(path=config.path, texts=config.texts, unique_keys=True)
        )

    def list(self) -> list[str]:
        return self._tars.list()

    def revision(self, names: Sequence[str]) -> str:
        return ""

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            seen = set[str | None]()
            for item in self._tars.read([name]):
                seen.add(item.key)
                yield replace(item, key=_in_folder(name, item.key)) if item.key else item
            yield from self._absent(name, seen)

    def _absent(self, tar: str, seen: set[str | None]) -> Iterator[Item]:
        """The rows of the table beside a tar that are not in it; none where there is no table."""
        table = f"{tar.removesuffix('.tar')}.parquet"
        if not self._files.exists(table):
            return
        try:
            with opened(self._files, table) as parquet:
                columns = [
                    c for c in ("key", "status", "error_message") if c in parquet.schema_arrow.names
                ]
                for row in rows_of(parquet, columns):
                    key = f"{row.get('key')}.jpg"
                    if row.get("key") and key not in seen:
                        yield Item(
                            f"{tar}/{row['key']}", key=_in_folder(tar, key), failed=_problem(row)
                        )
        except SampleError as error:
            yield Item(table, failed=error)


def _in_folder(tar: str, key: str) -> str:
    folder, slash, _ = tar.rpartition("/")
    return f"{folder}{slash}{key}"


def _problem(row: dict[str, Any]) -> SampleError:
    status = str(row.get("status"))
    if status == SUCCESS:
        return SampleError(NOT_IN_TAR, "its table counts it as done")
    return SampleError(REASONS.get(status, OTHER), f"{status}: {row.get('error_message')}"[:200])
