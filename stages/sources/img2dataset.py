"""Tars that img2dataset wrote (`output_format: webdataset`), each with its table beside it.

NNNNN.tar has the table NNNNN.parquet. Its keys are unique over all tars of a folder and are kept.
If `path` holds the folders of several runs, the folder's name joins the key. A row of the table
that img2dataset could not download or resize becomes a failed sample with its message. So does a
row that the table counts as done but whose sample is not in the tar, and every row of a table whose
tar is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from stages.base import SampleError
from stages.source import MAX_DETAIL, Item
from stages.sources.files import Files
from stages.sources.named import named_fields
from stages.sources.parquet import opened, rows_of
from stages.sources.tar_texts import check_fields
from stages.sources.tars import NO_KEY, SUFFIXES
from stages.sources.webdataset import WebDatasetConfig, WebDatasetSource

NOT_IN_TAR = "not_in_tar"
DOWNLOAD_FAILED = "download_failed"
# Values of the column `status`.
SUCCESS = "success"
REASONS = {"failed_to_download": DOWNLOAD_FAILED, "failed_to_resize": "resize_failed"}
COLUMNS = ("key", "status", "error_message")
TABLE = ".parquet"


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
        self.config = config
        self._files = Files(config.path, (*SUFFIXES, TABLE))
        self._tars = WebDatasetSource(
            WebDatasetConfig(path=config.path, texts=config.texts, unique_keys=True)
        )

    def list(self) -> list[str]:
        """The tars, also those of which only the table is there.

        Raises:
            ValueError: there is no tar, or none has a field that a setting names.
        """
        files = self._files.list()
        tables = {name for name in files if name.endswith(TABLE)}
        tars = [name for name in files if name not in tables]
        if not tars:
            raise ValueError(
                f"source.path={self.config.path}: only tables are in it, and no tars; use "
                "source=parquet if they hold the images"
            )
        check_fields(named_fields(self.config, ("texts",)), self._files, tars)
        without_table = [name for name in tars if table_of(name) not in tables]
        if tables and without_table:
            logging.getLogger("fld").warning(
                "source.path=%s: %d of %d tars have no table beside them, so it is not known what "
                "could not be downloaded; the first is %s",
                self.config.path,
                len(without_table),
                len(tars),
                without_table[0],
            )
        orphans = tables - {table_of(name) for name in tars}
        tars += [_tar_of(table) for table in orphans if self._is_of_img2dataset(table)]
        return sorted(tars)

    def _is_of_img2dataset(self, table: str) -> bool:
        """Whether a table without a tar is one of img2dataset, and not some other of the folder."""
        try:
            with opened(self._files, table) as parquet:
                return {"key", "status"} <= set(parquet.schema_arrow.names)
        except SampleError:
            # It is broken, so it may be one. Reading it tells the reason.
            return True

    def files_of(self, name: str) -> tuple[str, ...]:
        return name, table_of(name)

    def stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def revision(self, names: Sequence[str]) -> str:
        return ""

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            keys = set[str | None]()
            has_table = self._files.exists(table_of(name))
            # Of a table without a tar each row is a sample that failed; the tar is none.
            has_tar = self._files.exists(name)
            if has_tar or not has_table:
                for item in self._tars.read([name]):
                    keys.add(item.key)
                    if item.key:
                        item = replace(item, key=_in_folder(name, item.key))
                    yield item
            if has_table:
                why = "its table counts it as done" if has_tar else "its tar is not there"
                yield from self._missing(name, keys, SampleError(NOT_IN_TAR, why))

    def _missing(self, tar: str, keys: set[str | None], absent: SampleError) -> Iterator[Item]:
        """The rows of a tar's table whose keys are not in the tar; `absent` is the problem of those
        that were downloaded."""
        table = table_of(tar)
        try:
            with opened(self._files, table) as parquet:
                columns = [name for name in COLUMNS if name in parquet.schema_arrow.names]
                if "key" not in columns:
                    raise SampleError(NO_KEY, "the table has no column key")
                for number, row in enumerate(rows_of(parquet, columns)):
                    key = f"{row['key']}.jpg"
                    if row["key"] is None:
                        yield Item(f"{table}/{number}", failed=SampleError(NO_KEY, "key is null"))
                    elif key not in keys:
                        name = f"{tar}/{row['key']}"
                        yield Item(name, key=_in_folder(tar, key), failed=_problem(row) or absent)
        except SampleError as error:
            yield Item(table, failed=error)


def table_of(tar: str) -> str:
    """The table of a tar."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if tar.lower().endswith(suffix):
            return f"{tar[: -len(suffix)]}{TABLE}"
    return f"{tar}{TABLE}"


def _tar_of(table: str) -> str:
    """The tar of a table, as img2dataset names it."""
    return f"{table.removesuffix(TABLE)}.tar"


def _in_folder(tar: str, key: str) -> str:
    """The key, under the folder of its tar."""
    folder, slash, _ = tar.rpartition("/")
    return f"{folder}{slash}{key}"


def _problem(row: Mapping[str, object]) -> SampleError | None:
    """Why img2dataset has no image for a row; None if it was downloaded."""
    status = str(row.get("status") or SUCCESS)
    if status == SUCCESS:
        return None
    reason = REASONS.get(status, DOWNLOAD_FAILED)
    detail = f"{status}: {row.get('error_message')}"
    return SampleError(reason, detail[:MAX_DETAIL])
