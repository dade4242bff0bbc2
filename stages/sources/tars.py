"""Samples of any tar in the WebDataset convention: streamed, and nothing is written to disk.

A sample is the adjacent members that share a key: their path up to the first dot of its last part.
The rest of the name is the field, in lower case as `webdataset` reads it. Members that end in `.gz`
are unpacked.

Members that hold no sample are passed over and do not end one: directories, headers of volumes and
of backups, hidden files (as macOS writes them beside each file), and what `webdataset` keeps for
itself (`__NAME__`). What cannot be used becomes a sample with a problem, and the samples around it
are unharmed: links, devices, sparse files, absolute paths and `..`, names without a key or a field,
members that are too large or whose gzip is broken. A tar that ends too early, or goes on with
something else, gives what came before, then one problem of its own.
"""

from __future__ import annotations

import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Self

from stages.base import SampleError
from stages.source import FILE_TOO_LARGE, MAX_BYTES, NOT_A_FILE, detail_of
from stages.sources.files import MAC_FOLDER, UNSAFE_NAME, Files, is_unsafe, printable, unreadable
from stages.sources.packing import unpacked, unpacking

NO_KEY = "no_key"
NOT_A_TAR, TRUNCATED_TAR, TRAILING_DATA = "not_a_tar", "truncated_tar", "trailing_data"

SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
# Bytes of a long name or an extended header.
MAX_HEADER = 1 << 20
KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
}
# Headers of GNU tar without a file: of a volume (`--label`), and a folder's list in a backup.
NO_FILE = (tarfile.DIRTYPE, b"V", b"D")
# A folder or file that `webdataset` keeps for itself, and passes over.
META = re.compile(r"__[^/]*__($|/)")
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
    gzip.BadGzipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    RecursionError,
)

# The most bytes of a field (in lower case, without `.gz`) that are read; 0 for a field to skip.
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

    spelled: dict[str, str] = field(default_factory=dict)
    """The wanted fields as the tar spells them."""

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


def read_tar(files: Files, name: str, wanted: Wanted) -> Iterator[TarSample]:
    """The samples of a tar. If its store fails, the last one is a problem with the reason."""
    try:
        with files.open(name) as file:
            yield from read_samples(file, wanted)
    except SampleError as error:
        yield TarSample("", problem=error)
    except OSError as error:
        yield TarSample("", problem=unreadable(error))


def read_samples(file: IO[bytes], wanted: Wanted) -> Iterator[TarSample]:
    """The samples of an open tar, in order.

    Raises:
        OSError: the store fails while it is read.
    """
    reader = _Reader(wanted)
    try:
        yield from reader.whole_samples(file)
    except (*BROKEN, OSError) as error:
        if reader.sample.members or reader.sample.problem:
            yield reader.sample
        if not isinstance(error, BROKEN):
            raise
        yield TarSample("", problem=SampleError(reader.fault(error), detail_of(error)))


class _Reader:
    """Groups the members of one tar into samples."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        # The stubs lack `members`.
        self._tar: Any = None
        # Where the last member ends.
        self._end = 0
        self.sample = TarSample("")
        """The sample whose members are being read."""

    def whole_samples(self, file: IO[bytes]) -> Iterator[TarSample]:
        """The samples, and a problem if the tar has no end mark."""
        # Tars that were joined by `cat` are read as one: what looks like an end is skipped.
        data = unpacking(file)
        with tarfile.open(
            fileobj=data, mode="r|", tarinfo=_StrictInfo, ignore_zeros=True
        ) as self._tar:
            for info in self._tar:
                # `tarfile` would remember every member.
                self._tar.members = []
                self._end = self._tar.offset
                if not _is_passed_over(info):
                    yield from self._add(info)
        if self.sample.key:
            yield self.sample
        if self._end and self._tar.offset == self._end:
            problem = SampleError(TRUNCATED_TAR, "it has no end mark, so samples may be missing")
            yield TarSample("", problem=problem)

    def fault(self, error: Exception) -> str:
        """The reason when the tar turned out to be broken."""
        # Whether any member was read, and whether the reader stands behind the last one's end.
        if not self._end:
            return NOT_A_TAR
        if isinstance(error, EOFError):
            # The packed file is cut, although the tar in it may be whole.
            return TRUNCATED_TAR
        return TRAILING_DATA if self._tar.offset > self._end else TRUNCATED_TAR

    def _add(self, info: tarfile.TarInfo) -> Iterator[TarSample]:
        """Read a member; gives the sample that it ends, or itself if it is of no sample."""
        key, spelled = split(info.name)
        if not spelled:
            yield TarSample(key, problem=_unnamed(info))
            return
        is_next = key != self.sample.key or _unpacked_name(spelled).lower() in self.sample.spelled
        if self.sample.key and is_next:
            yield self.sample
            self.sample = TarSample("")
        self.sample.key = key
        _read_member(self.sample, self._tar, info, spelled, self._wanted)


def _is_passed_over(info: tarfile.TarInfo) -> bool:
    """Whether a member holds nothing of a sample; see the module's docstring."""
    folder, _, base = printable(info.name).removeprefix("./").rpartition("/")
    is_hidden = base.startswith(".") and base != ".."
    is_of_mac = MAC_FOLDER in folder.split("/")
    is_meta = META.match(info.name) is not None
    return info.type in NO_FILE or is_hidden or is_of_mac or is_meta


def split(name: str) -> tuple[str, str]:
    """(key, field) of a member's name; a name without them is a key with an empty field.

    The field is spelled as in the tar.
    """
    name = printable(name).removeprefix("./")
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    if stem and extension:
        return f"{folder}{slash}{stem}", extension
    return name, ""


def _read_member(
    sample: TarSample, tar: tarfile.TarFile, info: tarfile.TarInfo, spelled: str, wanted: Wanted
) -> None:
    """Read a member into its sample, or note the problem; the first problem of a sample stays."""
    spelled = _unpacked_name(spelled)
    field = spelled.lower()
    try:
        _check_name(info)
        most = wanted(field)
        if most:
            sample.spelled[field] = spelled
            _check_kind(info)
            left = MAX_BYTES - sample.size
            content = _content(tar, info, min(most, left))
            sample.members[field] = content
            sample.size += len(content)
    except SampleError as error:
        sample.problem = sample.problem or error


def _unpacked_name(name: str) -> str:
    """A name without `.gz`."""
    return name[:-3] if name.lower().endswith(".gz") else name


def _unnamed(info: tarfile.TarInfo) -> SampleError:
    """Why a member without a key or a field cannot be used."""
    shown = printable(info.name)
    if is_unsafe(shown):
        return SampleError(UNSAFE_NAME, shown)
    return SampleError(NO_KEY, f"{shown} is not named KEY.FIELD")


def _check_name(info: tarfile.TarInfo) -> None:
    """Refuse a member whose name leads out of the tar.

    Raises:
        SampleError: it does.
    """
    shown = printable(info.name)
    if is_unsafe(shown):
        raise SampleError(UNSAFE_NAME, shown)


def _check_kind(info: tarfile.TarInfo) -> None:
    """Refuse a member that is not a file.

    Raises:
        SampleError: it is not.
    """
    shown = printable(info.name)
    if info.issparse():
        raise SampleError(NOT_A_FILE, f"{shown} is a sparse file")
    if not info.isreg():
        kind = KINDS.get(info.type, "a device or a pipe")
        raise SampleError(NOT_A_FILE, f"{shown} is {kind}")


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
    return unpacked(data, most) if info.name.lower().endswith(".gz") else data
