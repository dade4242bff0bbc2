"""Tars of samples: deterministic writing, reading in order, and where each member lies.

A shard is a tar in the WebDataset convention: the members of one sample are adjacent, and their
names are equal up to the first dot; that part is the key. Nothing about the writing machine enters
the tar (mtime, uid and gid are 0), so equal samples give equal bytes.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

READ_ONLY = 0o444
END = bytes(2 * tarfile.BLOCKSIZE)
"""What every whole tar ends with."""
FIRST_OFFSET = tarfile.BLOCKSIZE
"""Where the content of a tar's first member begins, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where the bytes of a member lie in its tar, so that a range request can read them."""

    name: str
    offset: int
    """Of the first byte of the content, in bytes from the start of the tar."""
    size: int
    """In bytes."""


class TarWriter:
    """Writes samples to a binary file; members keep the order in which they are given.

    The blocks go straight to the file, because `tarfile` would copy every byte several times.
    """

    def __init__(self, file: SupportsWrite[bytes]) -> None:
        self._file = file
        self._size = 0

    def write(self, key: str, members: Mapping[str, bytes]) -> list[Member]:
        """Add `KEY.EXTENSION` for each extension of `members`; returns where their bytes lie."""
        assert key.isascii(), f"bad key {key!r}"
        assert "." not in key and "/" not in key, f"bad key {key!r}"
        written = []
        for extension, data in members.items():
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size = len(data)
            info.mode = READ_ONLY
            self._put(info.tobuf(tarfile.USTAR_FORMAT))
            written.append(Member(name=info.name, offset=self._size, size=len(data)))
            self._put(data)
            self._pad(tarfile.BLOCKSIZE)
        return written

    def close(self) -> None:
        """End the tar: two empty blocks, then zeros up to a whole record."""
        self._put(END)
        self._pad(tarfile.RECORDSIZE)

    def _pad(self, unit: int) -> None:
        """Fill up with zeros to a multiple of `unit` bytes."""
        self._put(bytes(-self._size % unit))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._size += len(data)


def read_tar(file: IO[bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, {extension: bytes}) of each sample of a shard that `TarWriter` wrote, in order.

    Raises:
        tarfile.TarError: it is no tar, or its end is cut off; samples before the cut come first.
    """
    key = ""
    members: dict[str, bytes] = {}
    watched = _Watched(file)
    # A stream is read, and nothing else is asked of it.
    stream = cast(IO[bytes], watched)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            extracted = tar.extractfile(info)
            if extracted is None:
                # A folder.
                continue
            stem, _, extension = info.name.partition(".")
            if stem != key and members:
                yield key, members
                members = {}
            key = stem
            members[extension] = extracted.read()
    if members:
        yield key, members
    # `tarfile` takes a tar that is cut between two members for a whole one.
    while watched.read(tarfile.RECORDSIZE):
        pass
    if watched.last != END:
        raise tarfile.ReadError("its end is cut off")


class _Watched:
    """A file that is read, with the last bytes that were read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.last = (self.last + data)[-len(END) :]
        return data
