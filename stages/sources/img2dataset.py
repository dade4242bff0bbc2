"""Tars that img2dataset wrote (`output_format: webdataset`), each with its table beside it.

NNNNN.tar has the table NNNNN.parquet. Its keys are unique over all tars of a folder and are kept.
If `path` holds the folders of several runs, the folder's name joins the key. A row of the table
that img2dataset could not download or resize becomes a failed sample with its message. So does a
row that the table counts as done but whose sample is not in the tar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from stages.base import SampleError
from stages.ingest import MAX_DETAIL, Item
from stages.sources.files import Files
from stages.sources.parquet import opened, rows_of
from stages.sources.tars import SUFFIXES
from stages.sources.webdataset import WebDatasetConfig, WebDatasetSource

NOT_IN_TAR = "not_in_tar"
DOWNLOAD_FAILED = "download_failed"
# Values of the column `status`.
SUCCESS = "success"
REASONS = {"failed_to_download": DOWNLOAD_FAILED, "failed_to_resize": "resize_failed"}
COLUMNS = ("key", "status", "error_message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Img2DatasetConfig:
    path: str
    """img2dataset's output folder, any fsspec URL."""

    texts: tuple[str, ...] = ("txt", "json.caption")
    """Fields that hold alt-texts; `json.NAME` is an entry of a JSON field."""


class Img2DatasetSource:
    """The samples of the tars, and the failed rows of the tables."""

    whole: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("texts",)

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
            keys = set[str | None]()
            for item in self._tars.read([name]):
                keys.add(item.key)
                if item.key:
                    item = replace(item, key=_in_folder(name, item.key))
                yield item
            yield from self._missing(name, keys)

    def _missing(self, tar: str, keys: set[str | None]) -> Iterator[Item]:
        """The rows of a tar's table whose keys are not in the tar; none if there is no table."""
        table = f"{tar.removesuffix('.tar')}.parquet"
        if not self._files.exists(table):
            return
        try:
            with opened(self._files, table) as parquet:
                columns = [name for name in COLUMNS if name in parquet.schema_arrow.names]
                for row in rows_of(parquet, columns):
                    key = f"{row.get('key')}.jpg"
                    if row.get("key") and key not in keys:
                        name = f"{tar}/{row['key']}"
                        yield Item(name, key=_in_folder(tar, key), failed=_problem(row))
        except SampleError as error:
            yield Item(table, failed=error)


def _in_folder(tar: str, key: str) -> str:
    """The key, under the folder of its tar."""
    folder, slash, _ = tar.rpartition("/")
    return f"{folder}{slash}{key}"


def _problem(row: Mapping[str, object]) -> SampleError:
    status = str(row.get("status"))
    if status == SUCCESS:
        return SampleError(NOT_IN_TAR, "its table counts it as done")
    reason = REASONS.get(status, DOWNLOAD_FAILED)
    detail = f"{status}: {row.get('error_message')}"
    return SampleError(reason, detail[:MAX_DETAIL])
