"""Files of a source behind a URL, read with patience while their store does not answer."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, cast

from stages.patience import patiently

SKIPPED_BYTES = 1 << 20
"""How much is read at a time of what lies before the position of a file that cannot seek."""


class PatientFile(io.RawIOBase):
    """A binary file for reading that is opened again, at its position, after each failed read.

    Raises:
        StoreSilent: in any method, if the store has not answered for minutes.
        OSError: the store has answered, and the file cannot be read.
    """

    def __init__(self, url: str, open_file: Callable[[], IO[bytes]]) -> None:
        self._url = url
        self._open_file = open_file
        self._file: IO[bytes] | None = patiently(url, open_file)
        self.size: int | None = getattr(self._file, "size", None)
        """Bytes of the file; None if the store does not tell."""
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.size is not None

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self.size is None:
            raise io.UnsupportedOperation(f"{self._url}: its size is not known")
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        if self._file is not None:
            self._file.seek(self._position)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        data = patiently(self._url, self._read, -1 if size is None else size)
        self._position += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def _read(self, size: int) -> bytes:
        if self._file is None:
            self._file = self._opened_again()
        try:
            return self._file.read(size)
        except Exception:
            # Every store has errors of its own; after any, the position in the file is not known.
            failed, self._file = self._file, None
            with suppress(Exception):
                failed.close()
            raise

    def _opened_again(self) -> IO[bytes]:
        """The file at the present position.

        Raises:
            OSError: it is not the file that it was, so what was read of it does not fit the rest.
        """
        file = self._open_file()
        if getattr(file, "size", None) != self.size:
            raise OSError(f"{self._url} was replaced while it was read")
        if self.size is not None:
            file.seek(self._position)
            return file
        left = self._position
        while left:
            skipped = file.read(min(left, SKIPPED_BYTES))
            if not skipped:
                raise OSError(f"{self._url} was replaced while it was read")
            left -= len(skipped)
        return file


def opened(url: str) -> IO[bytes]:
    """A single file behind any fsspec URL, open for reading.

    Raises:
        StoreSilent: its store has not answered for minutes, now or when it is read.
        OSError: there is no such file, or it cannot be read.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    fs, path = fsspec.core.url_to_fs(url)
    if isinstance(fs, LocalFileSystem):
        return open(path, "rb")
    return cast(IO[bytes], PatientFile(url, functools.partial(fs.open, path, "rb")))
