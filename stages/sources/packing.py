"""Packed tars (gzip, bzip2, xz), and gzip members of tars."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import IO, Any

from stages.base import SampleError
from stages.source import FILE_TOO_LARGE

CORRUPT_GZIP = "corrupt_gzip"


def unpacking(file: IO[bytes]) -> IO[bytes]:
    """The content of a tar that may be packed, by its first bytes.

    `tarfile` would take a packed file that is cut for one that ends, and would read the first only
    of several that were joined.
    """
    start = file.read(6)
    data = io.BufferedReader(_Rejoined(start, file))
    if start.startswith(b"\x1f\x8b"):
        return _available(gzip.GzipFile(fileobj=data))
    if start.startswith(b"BZh"):
        return _available(bz2.BZ2File(data))
    if start.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
        return _available(lzma.LZMAFile(data))
    return data


def _available(file: Any) -> Any:
    """The unpacked file, but reads end before a fault: what lies in front of a cut is not lost."""
    file.read = file.read1
    return file


class _Rejoined(io.RawIOBase):
    """A file whose first bytes were read already; not every store can go back."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start = start
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._start or self._rest.read(len(buffer))
        count = min(len(data), len(buffer))
        buffer[:count] = data[:count]
        self._start = self._start[count:]
        return count


def unpacked(data: bytes, most: int) -> bytes:
    """The content of a gzip file.

    Raises:
        SampleError: it is broken, or unpacks to more than `most` bytes.
    """
    # 16 + 15: a gzip header, and the largest window.
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(data, most + 1)
    except zlib.error as error:
        raise SampleError(CORRUPT_GZIP, str(error)) from None
    if len(content) > most:
        raise SampleError(FILE_TOO_LARGE, f"more than {most} bytes unpacked")
    if not unpacker.eof:
        raise SampleError(CORRUPT_GZIP, "it ends too early")
    return content
