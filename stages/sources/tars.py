"""Samples of any tar in the WebDataset convention: streamed, and nothing is written to disk.

A sample is the adjacent members that share a key: their path up to the first dot of its last part.
The rest of the name is the field. What cannot be used becomes a sample with a problem, and the
samples around it are unharmed: members that are not files (links, devices, directories, sparse
files), absolute paths and `..`, names without a key or a field, members that are too large or whose
gzip is broken. A tar that ends too early, or goes on with something else, gives what came before,
then one problem of its own. Members that end in `.gz` are unpacked.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Self

from stages.base import SampleError
from stages.ingest import FILE_TOO_LARGE, MAX_BYTES, NOT_A_FILE, detail_of
from stages.sources.files import UNSAFE_NAME, is_unsafe, printable

NO_KEY = "no_key"
CORRUPT_GZIP = "corrupt_gzip"
NOT_A_TAR, TRUNCATED_TAR, TRAILING_DATA = "not_a_tar", "truncated_tar", "trailing_data"

SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
# Bytes of a long name or an extended header.
MAX_HEADER = 1 << 20
KINDS = {
    tarfile.DIRTYPE: "a directory",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
}
# Headers that hold a long name or further fields of the member behind them.
EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
# What `tarfile` raises; the last two on headers that were made to break it.
BROKEN = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    RecursionError,
)

# The most bytes of a field (its name comes without `.gz`) that are read; 0 for a field to skip.
Wanted = Callable[[str], int]
# The type stubs lack the two header errors.
_TARFILE: Any = tarfile


@dataclass(slots=True)
class TarSample:
    """The wanted members of a sample, or what is wrong with it.

    A problem without a key is a problem of the tar itself.
    """

    key: str
    """The path without the field."""

    members: dict[str, bytes] = field(default_factory=dict)
    """The contents of the wanted members, by field."""

    problem: SampleError | None = None
    """The first problem of the sample."""

    size: int = 0
    """Bytes of all members."""


class _StrictInfo(tarfile.TarInfo):
    """A member's header, read more strictly than `tarfile` does.

    Headers that `tarfile` would take for the end of the archive, or for gigabytes of name, are
    errors.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except (_TARFILE.InvalidHeaderError, _TARFILE.TruncatedHeaderError) as error:
            raise tarfile.ReadError(str(error)) from None
        if info.type in EXTENDED and info.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {info.size} bytes")
        return info

    # The maps of sparse files are skipped, because `tarfile` would hold them however long they are.

    def _proc_sparse(self, tar: tarfile.TarFile) -> Self:
        assert tar.fileobj is not None, "the tar is open for reading"
        # The stubs lack these two attributes of a member.
        info: Any = self
        is_extended = info._sparse_structs[1]
        while is_extended:
            block = tar.fileobj.read(tarfile.BLOCKSIZE)
            if len(block) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("unexpected end of data")
            # This byte of a map says whether another map follows.
            is_extended = block[504]
        info.sparse = []
        self.offset_data = tar.fileobj.tell()
        # Rounded up, in whole numbers: a hostile size may be too large for a float.
        blocks = (self.size + tarfile.BLOCKSIZE - 1) // tarfile.BLOCKSIZE
        tar.offset = self.offset_data + blocks * tarfile.BLOCKSIZE
        return self

    def _proc_gnusparse_00(self, member: Any, *_: object) -> None:
        member.sparse = []

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


def read_samples(file: IO[bytes], wanted: Wanted) -> Iterator[TarSample]:
    """The samples of an open tar, in order.

    Raises:
        OSError: the store fails while it is read.
    """
    sample = TarSample("")
    end = 0
    # The stubs lack `members`.
    tar: Any = None
    try:
        # Tars that were joined by `cat` are read as one: what looks like an end is skipped.
        with tarfile.open(fileobj=file, mode="r|*", tarinfo=_StrictInfo, ignore_zeros=True) as tar:
            for info in tar:
                # `tarfile` would remember every member.
                tar.members = []
                end = tar.offset
                key, field = _key_and_field(info)
                is_next = key != sample.key or field in sample.members
                if sample.key and is_next:
                    yield sample
                    sample = TarSample("")
                sample.key = key
                _add(sample, tar, info, field, wanted)
    except BROKEN as error:
        if sample.members:
            yield sample
        # Whether any member was read, and whether the reader stands behind the last one's end.
        reason = NOT_A_TAR
        if sample.key:
            reason = TRAILING_DATA if tar.offset > end else TRUNCATED_TAR
        yield TarSample("", problem=SampleError(reason, detail_of(error)))
        return
    if sample.key:
        yield sample


def _key_and_field(info: tarfile.TarInfo) -> tuple[str, str]:
    if info.isdir():
        return f"{printable(info.name)}/", ""
    return split(info.name)


def split(name: str) -> tuple[str, str]:
    """(key, field) of a member's name; a name without them is a key with an empty field."""
    name = printable(name).removeprefix("./")
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    if stem and extension:
        return f"{folder}{slash}{stem}", extension
    return name, ""


def _add(
    sample: TarSample, tar: tarfile.TarFile, info: tarfile.TarInfo, field: str, wanted: Wanted
) -> None:
    """Read a member into its sample, or note the problem; the first problem of a sample stays."""
    try:
        _check(info, field)
        field = field.removesuffix(".gz")
        most = wanted(field)
        if most:
            left = MAX_BYTES - sample.size
            content = _content(tar, info, min(most, left))
            sample.members[field] = content
            sample.size += len(content)
    except SampleError as error:
        sample.problem = sample.problem or error


def _check(info: tarfile.TarInfo, field: str) -> None:
    """Refuse a member that is not a file of a sample.

    Raises:
        SampleError: it is not.
    """
    shown = printable(info.name)
    if is_unsafe(shown):
        raise SampleError(UNSAFE_NAME, shown)
    if info.issparse():
        raise SampleError(NOT_A_FILE, f"{shown} is a sparse file")
    if not info.isreg():
        kind = KINDS.get(info.type, "a device or a pipe")
        raise SampleError(NOT_A_FILE, f"{shown} is {kind}")
    if not field:
        raise SampleError(NO_KEY, f"{shown} is not named KEY.FIELD")


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, most: int) -> bytes:
    """A member's bytes, unpacked.

    Raises:
        SampleError: there are more than `most`, or its gzip is broken.
    """
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
