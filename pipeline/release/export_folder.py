"""The folder that an export writes: image files, copied or linked, and files beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipeline.release.exported import ExportSample


@dataclass(frozen=True, slots=True)
class ExportFolder:
    """Where an export goes."""

    path: Path
    originals: Path | None = None
    """The folder of the source's own images: an equal file there is linked, others are copied."""

    def check(self) -> None:
        """Check that the folder is new or empty.

        Raises:
            ValueError: it is a file, or something is in it: files of another export would mix
                with the new ones.
        """
        check_folder(self.path)
        if self.path.exists() and any(self.path.iterdir()):
            raise ValueError(f"{self.path}: is not empty; give a new folder")
        if self.originals is not None and not self.originals.is_dir():
            raise ValueError(f"--link {self.originals}: no such folder; give that of the images")

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
        if self.originals is None:
            return None
        # Names of files in other places (URLs, members of tars) are no files here.
        file = self.originals / sample.record.name
        if not file.is_file():
            return None
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return file.resolve() if digest == sample.record.sha256 else None


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
