"""What is sent of the working folder: code, recipes and weights, and no secret.

Left out are files that a .gitignore names (by git's rules, also where there is no git), version
control, caches, virtual environments, work folders, links to folders, and files whose names are
those of secrets. The archive depends on names and contents alone, so an equal folder is sent once.
"""

from __future__ import annotations

import functools
import heapq
import os
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.storage import layout, layout_journal

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NEVER_SENT, SECRETS = "never_sent.gitignore", "left_out.gitignore"
"""Files beside this one, with names by the rules of .gitignore."""
WORK_FOLDER_SIGNS = (layout_journal.LEASE, layout.HEAD)
LARGEST = 3
MB = 1_000_000
# One date for all: the archive of an equal folder has equal bytes. The first date that zip knows.
DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of the folder that is sent."""

    name: str
    """Relative to the folder, with `/`."""
    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What is sent of a folder."""

    path: Path
    files: tuple[SentFile, ...]
    """By name."""
    secrets: tuple[str, ...]
    """What is left out because its name is that of a secret."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def read_folder(path: Path, needed: Collection[str] = ()) -> Folder:
    """Find what is sent of a folder; `needed` are names of files that are sent in any case.

    Raises:
        ValueError: there is no such folder.
    """
    if not path.is_dir():
        raise ValueError(f"cluster.ray.folder={path}: no such folder")
    secrets: list[str] = []
    names = set(needed)
    names.update(_names(path, "", [], secrets))
    files = []
    for name in sorted(names):
        status = os.stat(path / name)
        files.append(SentFile(name, status.st_size))
    secrets.sort()
    return Folder(path, tuple(files), tuple(secrets))


def check_size(folder: Folder, max_mb: int) -> None:
    """Check that a folder is small enough to be sent.

    Raises:
        ValueError: it is larger than `max_mb` megabytes; the largest files are named.
    """
    if folder.size <= max_mb * MB:
        return
    largest = heapq.nlargest(LARGEST, folder.files, key=_size_of)
    named = ", ".join(f"{file.name} ({_megabytes(file.size)})" for file in largest)
    raise ValueError(
        f"cluster.ray.folder={folder.path}: {_megabytes(folder.size)} to send, more than "
        f"cluster.ray.max_mb={max_mb}; the largest: {named}; list what the job does not need in "
        ".gitignore, or raise the limit"
    )


def _size_of(file: SentFile) -> int:
    return file.size


def _megabytes(size: int) -> str:
    """A number of bytes as megabytes of 10^6 bytes, in words."""
    return f"{size / MB:,.1f} MB"


def pack(folder: Folder, archive: Path, added: Sequence[tuple[str, str]] = ()) -> None:
    """Write the files of a folder, and `added` texts by name, into a zip archive."""
    texts = dict(added)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in folder.files:
            if file.name in texts:
                continue
            source = folder.path / file.name
            entry = zipfile.ZipInfo(file.name, DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if os.access(source, os.X_OK) else 0o644
            # The upper 16 bits are the mode of Unix.
            entry.external_attr = mode << 16
            packed.writestr(entry, source.read_bytes())
        for name, text in texts.items():
            entry = zipfile.ZipInfo(name, DATE)
            packed.writestr(entry, text)


def is_secret(name: str) -> bool:
    """Whether a file or folder of this name holds secrets."""
    return _listed(SECRETS).match_file(name.lower())


@functools.cache
def _listed(file: str) -> GitIgnoreSpec:
    """The names in a file beside this one."""
    return _spec(Path(__file__).with_name(file))


def _spec(file: Path) -> GitIgnoreSpec:
    """The rules in a file of the form of .gitignore."""
    from pathspec import GitIgnoreSpec

    text = file.read_text(errors="replace")
    return GitIgnoreSpec.from_lines(text.splitlines())


@dataclass(frozen=True, slots=True)
class _Ignored:
    """The rules of one .gitignore."""

    folder: str
    """Where the file lies: "" or a path that ends with `/`."""
    rules: GitIgnoreSpec


def _names(root: Path, below: str, rules: list[_Ignored], secrets: list[str]) -> Iterator[str]:
    """The names of the files to send below a folder; `below` is "" or ends with `/`."""
    rules = list(rules)
    file = root / below / ".gitignore"
    if file.is_file():
        rules.append(_Ignored(below, _spec(file)))
    for each in sorted(os.listdir(root / below)):
        name = below + each
        path = root / name
        is_folder = path.is_dir()
        if _listed(NEVER_SENT).match_file(each):
            continue
        if _is_ignored(f"{name}/" if is_folder else name, rules):
            continue
        # A link may have a harmless name and lead to a key.
        target = os.path.realpath(path)
        if is_secret(each) or is_secret(os.path.basename(target)):
            secrets.append(name)
        elif is_folder:
            if not path.is_symlink() and not _is_of_no_use(path):
                yield from _names(root, f"{name}/", rules, secrets)
        elif path.is_file():
            yield name


def _is_ignored(name: str, rules: Sequence[_Ignored]) -> bool:
    """What the deepest .gitignore says that says anything of a name."""
    for ignored in reversed(rules):
        found = ignored.rules.check_file(name.removeprefix(ignored.folder))
        if found.include is not None:
            return found.include
    return False


def _is_of_no_use(folder: Path) -> bool:
    """Whether a folder is a virtual environment or a work folder."""
    if (folder / "pyvenv.cfg").exists():
        return True
    return any((folder / sign).exists() for sign in WORK_FOLDER_SIGNS)
