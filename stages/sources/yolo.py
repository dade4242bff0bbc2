"""Images with labels in the form of YOLO: `data.yaml`, and a text file for each image.

The text file of `images/train/x.jpg` is `labels/train/x.txt` (the last `images` of the path counts;
without one it lies beside the image). A line is a class and a box (centre, width and height) or a
class and the corners of a polygon, all in shares of the picture. An image without a text file shows
none of the classes. A line that is neither comes in dropped. Source of the format:
https://docs.ultralytics.com/datasets/detect/.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

from stages.base import MAY_CHANGE, SampleError
from stages.source import SUFFIXES, Item
from stages.sources.coco_file import read_bytes
from stages.sources.files import Files
from stages.sources.labelled_folder import FolderLabels, LabelUse, ShareBox, read_labelled

LABELS = ".txt"
# Raise it when the same text gives other labels: shards with the earlier ones are then redone.
LABELS_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class YoloConfig:
    """A corrected text file redoes the labels of its shard; new images come in, too."""

    path: str
    """The folder of the data set, any fsspec URL."""

    data: str = field(default="data.yaml", metadata=MAY_CHANGE)
    """The YAML file in that folder that names the classes and the splits."""

    splits: tuple[str, ...] = ("train", "val")
    """The splits of the YAML file whose images come in; one that it does not have is left out."""

    annotations: Literal["labels", "truth"] = "labels"
    """Whether the boxes enter the run as human labels, or are truth to measure against."""

    upright: bool = field(default=False, metadata=MAY_CHANGE)
    """Whether they were drawn on the pictures as viewers turn them by their EXIF orientation, not
    on the pixels of the files."""


class YoloSource:
    """The images of some splits."""

    whole: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(self, config: YoloConfig) -> None:
        self.config = config
        self._where = f"source.path={config.path}"
        self._files = Files(config.path, (*SUFFIXES, LABELS))
        url = f"{config.path.rstrip('/')}/{config.data}"
        self._yaml = read_yaml(f"source.data={config.data}", read_bytes(self._where, url))
        self._names = class_names(f"source.data={config.data}", self._yaml.get("names"))

    def list(self) -> list[str]:
        """The images of the splits.

        Raises:
            ValueError: the YAML file has none of the splits, or no image lies in one.
        """
        images = [name for name in self._files.list() if not name.endswith(LABELS)]
        found: set[str] = set()
        for split in self.config.splits:
            places = places_of(self._yaml.get(split))
            if not places:
                continue
            own = self._of_split(places, images)
            if not own:
                raise ValueError(
                    f"{self._where}: no image lies in {split}: {', '.join(places)}, as "
                    f"{self.config.data} says; correct it, or leave {split} out of source.splits"
                )
            found |= own
        if not found:
            raise ValueError(
                f"source.splits={list(self.config.splits)}: {self.config.data} has none of these"
            )
        return sorted(found)

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        use = LabelUse(self.config.annotations, self.config.upright)
        yield from read_labelled(self._files, names, self._labels_of, use)

    def revision(self, names: Sequence[str]) -> str:
        stamps = [self._stamps.get(labels_of(name)) for name in names]
        content = [
            LABELS_VERSION,
            stamps,
            sorted(self._names.items()),
            self.config.annotations,
            self.config.upright,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def files_of(self, name: str) -> tuple[str, ...]:
        return (name,)

    def stamps(self) -> Mapping[str, str]:
        return self._stamps

    @cached_property
    def _stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def _of_split(self, places: Sequence[str], images: Sequence[str]) -> set[str]:
        """The images in the folders, or in the lists, of a split."""
        found = set()
        for place in places:
            if not place.endswith(LABELS):
                found |= {name for name in images if f"/{name}".find(f"/{place}/") >= 0}
                continue
            listed = self._files.fetch(place)
            if isinstance(listed, SampleError):
                raise ValueError(f"{self._where}: {place}: {listed.detail or listed.reason}")
            lines = listed.decode("utf-8", "replace").splitlines()
            found |= set(images).intersection(plain_place(line) for line in lines)
        return found

    def _labels_of(self, name: str) -> FolderLabels:
        file = labels_of(name)
        if file not in self._stamps:
            return FolderLabels()
        data = self._files.fetch(file)
        if isinstance(data, SampleError):
            # One label that is dropped tells that there were some.
            return FolderLabels([ShareBox(name="", box=None)])
        lines = data.decode("utf-8", "replace").splitlines()
        return FolderLabels([box_of_line(line, self._names) for line in lines if line.strip()])


def read_yaml(where: str, data: bytes) -> Mapping[str, object]:
    """The mapping in a YAML file.

    Raises:
        ValueError: there is none.
    """
    import yaml

    try:
        value = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: no names and splits in it")
    return value


def class_names(where: str, names: object) -> dict[int, str]:
    """The names of classes by their numbers: of a list, or of a mapping.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(names, list):
        return {number: str(name).strip() for number, name in enumerate(names)}
    if isinstance(names, Mapping) and all(isinstance(number, int) for number in names):
        return {int(number): str(name).strip() for number, name in names.items()}
    raise ValueError(f"{where}: names is no list of classes and no map of numbers to classes")


def places_of(value: object) -> list[str]:
    """The folders or lists of a split, without what leads out of the data set; empty if none."""
    values = value if isinstance(value, list) else [value]
    return [plain_place(place) for place in values if isinstance(place, str) and place.strip()]


def plain_place(path: str) -> str:
    """A path without `./`, `../` and slashes around it: exports write it from another folder."""
    parts = [part for part in path.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(part for part in parts if part != "..")


def labels_of(image: str) -> str:
    """The text file of an image."""
    folders, _, file = image.rpartition("/")
    stem = file.rpartition(".")[0] or file
    parts = folders.split("/") if folders else []
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return "/".join([*parts, f"{stem}{LABELS}"])


def box_of_line(line: str, names: Mapping[int, str]) -> ShareBox:
    """A line of a text file; without a box if it is neither a box nor a polygon."""
    words = line.split()
    name = names.get(int(words[0]), "") if words[0].isdecimal() else ""
    numbers = _numbers(words[1:])
    if len(numbers) == 4:
        x, y, width, height = numbers
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return ShareBox(name=name, box=box)
    if len(numbers) >= 6 and len(numbers) % 2 == 0:
        xs, ys = numbers[::2], numbers[1::2]
        box = (min(xs), min(ys), max(xs), max(ys))
        return ShareBox(name=name, box=box, polygons=[numbers])
    return ShareBox(name=name, box=None)


def _numbers(words: Sequence[str]) -> list[float]:
    """Words as finite numbers; none if one is something else."""
    numbers = []
    for word in words:
        try:
            number = float(word)
        except ValueError:
            return []
        if not math.isfinite(number):
            return []
        numbers.append(number)
    return numbers
