"""The folder that an export writes: image files, copied or linked, and files beside them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipeline.release.exported import ExportSample


@dataclass(frozen=True, slots=True)
class ExportFolder:
    """Where an export goes."""

    path: Path
    originals: Sequence[Path] = ()
    """The folders of the sources' own images: an equal file there is linked, others are copied."""
    linked: Counter[Path] = field(default_factory=Counter)
    """How many files of each of these folders are linked."""

    def check(self) -> None:
        """Check that the folder is new or empty.

        Raises:
            ValueError: it is a file, or something is in it: files of another export would mix
                with the new ones.
        """
        check_folder(self.path)
        if self.path.exists() and any(self.path.iterdir()):
            raise ValueError(f"{self.path}: is not empty; give a new folder")
        for folder in self.originals:
            if not folder.is_dir():
                raise ValueError(f"--link {folder}: no such folder; give that of the images")

    def add_image(self, sample: ExportSample, folder: str) -> str:
        """Put the image of a sample into a folder of the export; its path in the export."""
        name = f"{folder}/{sample.file}"
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        original = self._original(sample)
        if original is None:
            target.write_bytes(sample.picture.data)
        else:
            target.symlink_to(original)
        return name

    def write(self, name: str, text: str) -> None:
        """Write a text file."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def _original(self, sample: ExportSample) -> Path | None:
        """The file of the source that is the stored image, None if there is no such file."""
        for folder in self.originals:
            # Names of files in other places (URLs, members of tars) are no files here. Two sources
            # may have files of the same name, so only the content tells.
            file = folder / sample.record.name
            if not file.is_file():
                continue
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            if digest == sample.record.sha256:
                self.linked[folder] += 1
                return file.resolve()
        return None

    def warnings(self) -> Iterator[str]:
        """A line for each folder of originals in which nothing could be linked."""
        for folder in self.originals:
            if not self.linked[folder]:
                yield (
                    f"--link {folder}: none of the images is there under its name in the source "
                    "and with the same bytes, so nothing is linked to this folder; give the path "
                    "of the source"
                )


def check_folder(path: Path) -> None:
    """Check that a path may become a folder.

    Raises:
        ValueError: it is a file.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path}: is a file; give a folder")


@dataclass(slots=True)
class JsonItems:
    """Writes the items of a JSON list or object one by one, so that it need not fit in memory."""

    file: IO[str]
    count: int = field(default=0, init=False)

    def add(self, value: object, key: str | None = None) -> None:
        """Write one more item; with a key for an object."""
        self.file.write("\n" if self.count == 0 else ",\n")
        if key is not None:
            self.file.write(f"{json.dumps(key)}: ")
        self.file.write(json.dumps(value, ensure_ascii=False))
        self.count += 1


@contextmanager
def json_items(
    path: Path,
    start: str,
    end: str,
) -> Iterator[JsonItems]:
    """Items between two pieces of JSON, such as `[` and `]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write(start)
        yield JsonItems(file)
        file.write(f"\n{end}\n")
