"""Which image of a COCO file each record of a round is, and on which pixels its labels are drawn.

A round's images are upright. A COCO file may be drawn on the pixels of the files instead, and the
same rules as in the source of COCO files say which it is (`stages.sources.coco_grid`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.rows import Record
from pipeline.storage.transforms import orientation_in
from stages.sources.coco_file import CocoImage
from stages.sources.coco_grid import Grid
from stages.sources.coco_names import matched
from stages.upright import Picture, drawn_upright

REMEDY = 'say it in the file: "info": {"upright": true} or false'


@dataclass(frozen=True, slots=True)
class TruthImage:
    """The image of a COCO file that a record is."""

    id: str
    """Its id in the file."""

    picture: Picture
    """How the picture lay in its file before it was stored upright."""

    upright: bool
    """Whether its labels are drawn on the upright picture."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture on which its labels are drawn, in pixels."""
        return self.picture.upright_size if self.upright else self.picture.size


@dataclass(frozen=True, slots=True)
class TruthFile:
    """What must be known of a COCO file to find the records of a round in it."""

    where: str
    """Names the file, for messages."""

    images: Mapping[str, CocoImage]
    """Its images by their ids."""

    upright: bool | None
    """Whether it says that its labels are drawn on upright pictures; None if it does not say."""

    has_places: bool
    """Whether its labels have places in the pictures; captions have none."""


def images_of_records(file: TruthFile, records: Sequence[Record]) -> dict[str, TruthImage]:
    """The images of a COCO file by the keys of the records that they are.

    An image is found by its file name, or by its id as the key of a record.

    Raises:
        ValueError: it is not known which image is which record, or an image has another size.
    """
    pairs = _pairs(file, records)
    grid = Grid(told=file.upright)
    pictures = {}
    for record, image in pairs:
        picture = picture_of(record)
        pictures[record.key] = picture
        grid.add(record.name, image.size, picture, file.has_places)
    problem = grid.problem(REMEDY)
    if problem and file.has_places:
        logging.getLogger("fld").warning("%s: %s", file.where, problem)
    found = {}
    for record, image in pairs:
        picture = pictures[record.key]
        upright = drawn_upright(image.size, picture, file.upright, grid.is_upright)
        found[record.key] = TruthImage(image.id, picture, upright)
    if file.has_places:
        _check_sizes(file, pairs, found)
    return found


def picture_of(record: Record) -> Picture:
    """How the picture of a record lay in its file."""
    size = (record.width, record.height)
    return Picture.of_upright(size, orientation_in(record.transform))


def _pairs(file: TruthFile, records: Sequence[Record]) -> list[tuple[Record, CocoImage]]:
    """The records that are in the file, each with its image.

    Raises:
        ValueError: it is not known which image is which record.
    """
    found: dict[str, CocoImage] = {}
    for record in records:
        image = file.images.get(record.key)
        if image is not None and image.name in ("", record.name):
            found[record.key] = image
    taken = {image.id for image in found.values()}
    left = [record for record in records if record.key not in found]
    by_name = _images_by_name(file, taken)
    of_record = _images_of_names(file, by_name, left)
    for record in left:
        image = of_record.get(record.name) or file.images.get(record.key)
        if image is None:
            continue
        if image.id in taken:
            raise ValueError(
                f"{file.where}: several images of the round may be {image.name or image.id}, also"
                f" {record.key}; use the keys of the round as the ids of images, or choose one"
                " source by --image-source"
            )
        taken.add(image.id)
        found[record.key] = image
    return [(record, found[record.key]) for record in records if record.key in found]


def _images_by_name(file: TruthFile, taken: Collection[str]) -> dict[str, CocoImage]:
    """The images by their file names, without those whose ids are taken.

    Raises:
        ValueError: two images have one name.
    """
    by_name: dict[str, CocoImage] = {}
    for image in file.images.values():
        if image.id in taken:
            continue
        name = image.name or image.id
        earlier = by_name.setdefault(name, image)
        if earlier is not image:
            raise ValueError(
                f"{file.where}: images {earlier.id} and {image.id} are both {name}; give them one"
                " id"
            )
    return by_name


def _images_of_names(
    file: TruthFile, by_name: Mapping[str, CocoImage], records: Sequence[Record]
) -> dict[str, CocoImage]:
    """The images by the names of the records.

    Raises:
        ValueError: a name stands for several others.
    """
    matches = matched(by_name, [record.name for record in records])
    keys = {record.key for record in records}
    for name, (one, other) in matches.ambiguous.items():
        if by_name[name].id not in keys:
            raise ValueError(
                f"{file.where}: {one} and {other} have the same name without their folders, so it"
                " is not known which image of the round is which; write names with their folders"
            )
    return {record: by_name[name] for name, record in matches.found.items()}


def _check_sizes(
    file: TruthFile,
    pairs: Iterable[tuple[Record, CocoImage]],
    found: Mapping[str, TruthImage],
) -> None:
    """Check that the images are as large in the file as in the round.

    Raises:
        ValueError: some are not.
    """
    wrong = []
    for record, image in pairs:
        size = found[record.key].size
        # Who says on which pixels the labels are drawn may state the size of the other picture.
        is_exchanged = file.upright is not None and image.size == size[::-1]
        if image.size not in (None, size) and not is_exchanged:
            wrong.append((record, image.size, size))
    if wrong:
        record, stated, size = wrong[0]
        raise ValueError(
            f"{file.where}: {len(wrong)} images have another size than in the round, {record.name}"
            f" {_shown(stated)} and not {_shown(size)}; boxes of another size cannot be compared"
        )


def _shown(size: tuple[int, int] | None) -> str:
    return "x".join(map(str, size or ()))
