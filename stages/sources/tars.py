"""Samples of any tar in the WebDataset convention, however it was made: streamed, nothing ever written to disk.

A sample is the adjacent members that share a path up to the first dot of its last part, the key; the rest of the name
is the field. What cannot be used is a sample with a problem, and the samples around it are unharmed: members that are
no files (links, devices, directories, sparse ones), absolute paths and `..`, names without key or field, members that
are too large or whose gzip is broken. A tar that ends too early, or goes on with something else, gives what came
before, then one problem of its own. Members ending in `.gz` are unpacked.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Self

from stages.base import SampleError
from stages.ingest import FILE_TOO_LARGE, MAX_BYTES, NOT_A_FILE
from stages.sources.files import UNSAFE_NAME, is_unsafe, printable

NO_KEY = "no_key"
CORRUPT_GZIP = "corrupt_gzip"
NOT_A_TAR, TRUNCATED_TAR, TRAILING_DATA = "not_a_tar", "truncated_tar", "trailing_data"

SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MAX_HEADER = 1 << 20  # bytes of a long name or an extended header
KINDS = {
    tarfile.DIRTYPE: "a directory",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
}
EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
# `tarfile` raises the last two on headers made to break it.
BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError)

Wanted = Callable[[str], int]
_TARFILE: Any = tarfile  # the stubs lack its header errors


@dataclass(slots=True)
class TarSample:
    """The wanted members of a sample by field, or what is wrong with it. One with a problem and no key is the tar's."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)
    problem: SampleError | None = None
    size: int = 0


class _StrictInfo(tarfile.TarInfo):
    """Headers that `tarfile` would take for the end of the archive, or for gigabytes of name, are errors."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except (_TARFILE.InvalidHeaderError, _TARFILE.TruncatedHeaderError) as error:
            raise tarfile.ReadError(str(error)) from None
        if info.type in EXTENDED and info.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {info.size} bytes")
        return info

    # Maps of sparse files are passed over: `tarfile` would hold them, however long they are.

    def _proc_sparse(self, tar: Any) -> Self:
        mine: Any = self
        extended = mine._sparse_structs[1]
        while extended:
            block = tar.fileobj.read(tarfile.BLOCKSIZE)
            if len(block) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("unexpected end of data")
            extended = block[504]
        mine.sparse = []
        self.offset_data = tar.fileobj.tell()
        tar.offset = self.offset_data + -(-self.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        return self

    def _proc_gnusparse_00(self, member: Any, *_: Any) -> None:
        member.sparse = []

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


def read_samples(file: IO[bytes], wanted: Wanted) -> Iterator[TarSample]:
    """The samples of an open tar, in order. `wanted` tells the most bytes of a field (asked without `.gz`), 0 for one
    that is passed over.

    Raises:
        OSError: the store fails while it is read.
    """
    sample, end = TarSample(""), 0
    tar: Any = None
    try:
        # Tars that were written one behind the other (`cat`) are one: what looks like the end is passed over.
        with tarfile.open(fileobj=file, mode="r|*", tarinfo=_StrictInfo, ignore_zeros=True) as tar:
            for info in tar:
                tar.members = []  # else it remembers each one
                end = tar.offset
                key, name = (f"{printable(info.name)}/", "") if info.isdir() else split(info.name)
                if sample.key and (key != sample.key or name in sample.members):
                    yield sample
                    sample = TarSample("")
                sample.key = key
                _add(sample, tar, info, name, wanted)
    except BROKEN as error:
        if sample.members:
            yield sample
        detail = f"{type(error).__name__}: {error}"[:200]
        reason = NOT_A_TAR
        if sample.key:
            reason = TRAILING_DATA if tar.offset > end else TRUNCATED_TAR
        yield TarSample("", problem=SampleError(reason, detail))
        return
    if sample.key:
        yield sample


def split(name: str) -> tuple[str, str]:
    """(key, field) of a member's name."""
    name = printable(name).removeprefix("./")
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return (f"{folder}{slash}{stem}", extension) if stem and extension else (name, "")


def _add(
    sample: TarSample, tar: tarfile.TarFile, info: tarfile.TarInfo, name: str, wanted: Wanted
) -> None:
    """Read a member into its sample, or say why not; the first problem of a sample stands."""
    try:
        _check(info, name)
        field = name.removesuffix(".gz")
        if most := wanted(field):
            sample.members[field] = _content(tar, info, min(most, MAX_BYTES - sample.size))
            sample.size += len(sample.members[field])
    except SampleError as error:
        sample.problem = sample.problem or error


def _check(info: tarfile.TarInfo, name: str) -> None:
    shown = printable(info.name)
    if is_unsafe(shown):
        raise SampleError(UNSAFE_NAME, shown)
    if info.issparse():
        raise SampleError(NOT_A_FILE, f"{shown} is a sparse file")
    if not info.isreg():
        raise SampleError(NOT_A_FILE, f"{shown} is {KINDS.get(info.type, 'a device or a pipe')}")
    if not name:
        raise SampleError(NO_KEY, f"{shown} is not named KEY.FIELD")


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, most: int) -> bytes:
    """A member's bytes, unpacked."""
    if info.size > most:
        detail = f"{printable(info.name)}: {info.size} bytes, the most is {most}"
        raise SampleError(FILE_TOO_LARGE, detail)
    extracted = tar.extractfile(info)
    assert extracted is not None
    data = extracted.read()
    if len(data) < info.size:
        raise tarfile.ReadError("unexpected end of data")
    return unpacked(data, most) if info.name.endswith(".gz") else data


def unpacked(data: bytes, most: int) -> bytes:
    """The content of a gzip file.

    Raises:
        SampleError: it is broken, or too large.
    """
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
