"""Samples of any tar in the WebDataset convention, however it was made: streamed, nothing ever written to disk.

A sample is the adjacent members that share a path up to the first dot of its last part, the key; the rest of the name
is the field. What cannot be used is a sample with a problem, and the samples around it are unharmed: members that are
no files (links, devices, directories), absolute paths and `..`, names without key or field, members that are too large
or whose gzip is broken. A tar that ends too early gives what came before, then one problem of its own. Members ending
in `.gz` are unpacked.
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
from stages.sources.files import printable

UNSAFE_NAME, NO_KEY = "unsafe_name", "no_key"
CORRUPT_GZIP = "corrupt_gzip"
NOT_A_TAR, TRUNCATED_TAR = "not_a_tar", "truncated_tar"

SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MAX_HEADER = 1 << 20  # bytes of a long name or an extended header
KINDS = {tarfile.DIRTYPE: "a directory", tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link"}
EXTENDED = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
# `tarfile` raises the last two on headers made to break it.
BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError)

Wanted = Callable[[str], bool]


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
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from None
        if info.type in EXTENDED and info.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {info.size} bytes")
        return info


def read_samples(file: IO[bytes], wanted: Wanted) -> Iterator[TarSample]:
    """The samples of an open tar, in order, with the members whose field is `wanted` (asked without `.gz`).

    Raises:
        OSError: the store fails while it is read.
    """
    sample = TarSample("")
    try:
        with tarfile.open(fileobj=file, mode="r|*", tarinfo=_StrictInfo) as tar:
            for info in tar:
                tar.members = []  # type: ignore[attr-defined] # else it remembers each one
                key, name = split(info.name)
                name = f"{key}/" if info.isdir() else name
                if sample.key and (key != sample.key or name in sample.members):
                    yield sample
                    sample = TarSample("")
                sample.key = key
                _add(sample, tar, info, name, wanted)
    except BROKEN as error:
        if sample.members:
            yield sample
        detail = f"{type(error).__name__}: {error}"[:200]
        opened = bool(sample.key)
        yield TarSample("", problem=SampleError(TRUNCATED_TAR if opened else NOT_A_TAR, detail))
        return
    if sample.key:
        yield sample


def split(name: str) -> tuple[str, str]:
    """(key, field) of a member's name."""
    name = printable(name).removeprefix("./")
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return (f"{folder}{slash}{stem}", extension) if stem and extension else (name, "")


def _add(sample: TarSample, tar: tarfile.TarFile, info: tarfile.TarInfo, name: str, wanted: Wanted) -> None:
    """Read a member into its sample, or say why not; the first problem of a sample stands."""
    try:
        _check(info, name)
        field = name.removesuffix(".gz")
        if wanted(field):
            sample.members[field] = _content(tar, info, MAX_BYTES - sample.size)
            sample.size += len(sample.members[field])
    except SampleError as error:
        sample.problem = sample.problem or error


def _check(info: tarfile.TarInfo, name: str) -> None:
    shown = printable(info.name)
    if shown.startswith("/") or ".." in shown.split("/"):
        raise SampleError(UNSAFE_NAME, shown)
    if not info.isreg():
        raise SampleError(NOT_A_FILE, f"{shown} is {KINDS.get(info.type, 'a device or a pipe')}")
    if not name:
        raise SampleError(NO_KEY, f"{shown} is not named KEY.FIELD")


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, most: int) -> bytes:
    """A member's bytes, unpacked."""
    if info.size > most:
        detail = f"{printable(info.name)}: {info.size} bytes, the most of a sample is {MAX_BYTES}"
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
