"""Tars of samples: deterministic writing, safe reading, and where each member lies.

A shard is a tar in the WebDataset convention: the members of one sample are adjacent and share the name up to the
first dot, the key. Nothing about the writing machine enters the tar (mtime, uid and gid are 0), so equal samples give
equal bytes.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where a member's bytes lie in its tar: a range request reads them."""

    name: str
    offset: int
    size: int


class TarWriter:
    """Writes samples to a binary file, members in the order given.

    Blocks go straight to the file: `tarfile`'s own streams copy every byte several times.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._size = file, 0

    def write(self, key: str, members: Mapping[str, bytes]) -> list[Member]:
        """Add `KEY.EXTENSION` for every extension of `members`; returns where their bytes lie."""
        assert key.isascii() and "." not in key and "/" not in key, f"bad key {key!r}"
        written = []
        for extension, data in members.items():
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size, info.mode = len(data), 0o444
            self._put(info.tobuf(tarfile.USTAR_FORMAT))
            written.append(Member(name=info.name, offset=self._size, size=len(data)))
            self._put(data)
            self._put(bytes(-len(data) % tarfile.BLOCKSIZE))
        return written

    def close(self) -> None:
        """Two empty blocks end a tar, padded to whole records."""
        end = self._size + 2 * tarfile.BLOCKSIZE
        self._put(bytes(end + -end % tarfile.RECORDSIZE - self._size))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._size += len(data)


def read_tar(file: IO[bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, {extension: bytes}) of each sample of a shard that we wrote, in order."""
    key, members = "", dict[str, bytes]()
    with tarfile.open(fileobj=file, mode="r|") as tar:
        for info in tar:
            extracted = tar.extractfile(info)
            if extracted is None:
                continue
            stem, _, extension = info.name.partition(".")
            if stem != key and members:
                yield key, members
                members = {}
            key = stem
            members[extension] = extracted.read()
    if members:
        yield key, members
