"""The ids of an export: they depend on what is exported as little as possible.

The ids that came with `source=coco` go back as they came. Where there is none:

- An image has the number that its file is named by, as COCO's own files are. If no number or a
  number of several files is in the name, its id is a digest of its key.
- A label's id is a digest of its image's key and its own id, which it keeps in later rounds.
- A class that COCO has gets COCO's number. The others are counted behind the highest number: first
  the classes of the run's detectors, in their order, then all other classes of the round by the
  round in which they came and by name. Labels that are not exported count, too.

So `--source`, another round, or other images in the same work folder leave ids as they are. Work
folders with one detector agree on its classes; `--categories` makes any work folders agree.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.quality.coco import Category, ImageId
    from pipeline.rows import Record
    from pipeline.schema import Annotation

# Digests lie in the upper half of the whole numbers that JSON and float64 keep exactly, because
# pycocotools puts ids into arrays of float64. All other numbers lie in the lower half.
DIGEST_BITS = 52
FIRST_DIGEST = 1 << DIGEST_BITS
# COCO counts its 80 classes from 1 to 90; it has left these out.
COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_LAST = 90


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The categories of an export."""

    known: Sequence[Category]
    """These are listed even if they have no box."""
    others: Sequence[Category] = ()
    """These are listed if they have one."""

    def all(self) -> list[Category]:
        return [*self.known, *self.others]


@dataclass(frozen=True, slots=True)
class Numbering:
    """From what an export takes its ids."""

    table: ClassTable
    images: Mapping[str, ImageId] = field(default_factory=dict)
    """The sources' ids of images, by the keys of the images."""


def image_ids(records: Sequence[Record], given: Mapping[str, ImageId]) -> dict[str, ImageId]:
    """The id of each image by its key; `given` holds the ids of the sources by the same keys."""
    wanted: dict[str, ImageId | None] = {}
    numbers: dict[str, ImageId | None] = {}
    for record in records:
        wanted[record.key] = given.get(record.key)
        numbers[record.key] = _number_of_file(record.name)
    # Numbers of files beside ids of the source could mean two images.
    if set(wanted.values()) <= {None}:
        wanted = numbers
    counts = Counter(wanted.values())
    ids: dict[str, ImageId] = {}
    for key, id_ in wanted.items():
        if id_ is None or counts[id_] > 1:
            ids[key] = digest_id(key)
        else:
            ids[key] = id_
    return ids


def _number_of_file(name: str) -> int | None:
    """The number that a file is named by, None if it is named by something else."""
    _, _, file = name.rpartition("/")
    stem, _, _ = file.partition(".")
    if not (stem.isascii() and stem.isdecimal()) or int(stem) >= FIRST_DIGEST:
        return None
    return int(stem)


def digest_id(*names: str) -> int:
    """An id that depends on these names alone."""
    text = "/".join(names)
    digest = hashlib.sha256(text.encode()).digest()
    return FIRST_DIGEST + int.from_bytes(digest[:8], "big") % FIRST_DIGEST


def label_ids(labels: Iterable[tuple[str, Annotation]]) -> list[int]:
    """The id of each label, given with the key of its image.

    A human label from COCO has the number with which its id ends. If several have one number, the
    first keeps it.
    """
    ids = []
    taken = set[int]()
    for key, label in labels:
        number = _coco_number(label)
        if number is None or number in taken:
            number = digest_id(key, label.id)
        taken.add(number)
        ids.append(number)
    return ids


def _coco_number(label: Annotation) -> int | None:
    """The number at the end of a human label's id, None for all other labels."""
    last = label.id.rpartition(".")[2]
    return int(last) if label.locked and last.isdecimal() else None


def class_table(
    records: Iterable[Record],
    known: Sequence[Category] = (),
    classes: Iterable[str] = (),
) -> ClassTable:
    """The categories of a round.

    Args:
        records: the records of a round, with all their labels.
        known: the categories of the source; empty if it has none.
        classes: the classes of the run's detectors, in their order.
    """
    names = dict.fromkeys([*classes, *_phrases(records)])
    for category in known:
        names.pop(class_name(category), None)
    numbers = {} if known else coco_numbers()
    others: list[Category] = []
    for name in names:
        if name in numbers:
            others.append({"id": numbers[name], "name": name})
    last = COCO_LAST if others else _highest(known)
    for name in names:
        if name not in numbers:
            last += 1
            others.append({"id": last, "name": name})
    return ClassTable(known, sorted(others, key=_number))


def class_name(category: Category) -> str:
    """The name of a category as regions have it."""
    return str(category["name"]).strip()


def _number(category: Category) -> int:
    return int(category["id"])


def _phrases(records: Iterable[Record]) -> list[str]:
    """The phrases of all regions, by the round in which they came, and by name."""
    rounds: dict[str, int] = {}
    for record in records:
        for region in record.annotations.regions:
            if region.phrase:
                first = rounds.get(region.phrase, region.round)
                rounds[region.phrase] = min(first, region.round)
    return sorted(rounds, key=lambda phrase: (rounds[phrase], phrase))


def _highest(categories: Iterable[Category]) -> int:
    """The highest number among the ids of some categories, 0 if there is none."""
    highest = 0
    for category in categories:
        text = str(category["id"])
        if text.isascii() and text.isdecimal():
            highest = max(highest, int(text))
    return highest


def coco_numbers() -> dict[str, int]:
    """COCO's number of each of its 80 classes."""
    file = resources.files("stages.specialists") / "coco_classes.txt"
    names = file.read_text().split("\n")
    numbers = [number for number in range(1, COCO_LAST + 1) if number not in COCO_GAPS]
    return dict(zip(filter(None, names), numbers, strict=True))
