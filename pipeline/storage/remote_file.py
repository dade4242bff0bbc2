"""A file of a remote store that is read in ranges, so that no connection stays open meanwhile."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES = 4 << 20
"""How much is asked for at a time when less is read."""
ReadRange = Callable[[int, int], bytes]
"""The bytes of a file from the first position on, before the second one."""


class RemoteFile(io.RawIOBase):
    """A binary file for reading; `opened` puts a buffer before it."""

    def __init__(self, read_range: ReadRange, size: int) -> None:
        self._read_range = read_range
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readall(self) -> bytes:
        # The method of the base class would ask for a few kilobytes at a time.
        start, self._position = self._position, max(self._position, self._size)
        return self._read_range(start, self._size) if start < self._size else b""

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        end = min(self._position + len(target), self._size)
        if end <= self._position:
            return 0
        data = self._read_range(self._position, end)
        target[: len(data)] = data
        self._position += len(data)
        return len(data)


def opened(read_range: ReadRange, size: int) -> io.BufferedReader:
    """A buffered file of so many bytes."""
    return io.BufferedReader(RemoteFile(read_range, size), BUFFER_BYTES)
