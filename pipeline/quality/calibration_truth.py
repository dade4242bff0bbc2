"""The truth that `fld calibrate` measures by: a COCO file, what the source knows, or people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pipeline.quality.coco_images import TruthFile, images_of_records
from pipeline.rows import Record
from pipeline.schema import CROWD, Annotations, Region
from stages.sources.coco_file import (
    categories_of,
    entries_of,
    images_of,
    load,
    stated_upright,
)
from stages.sources.coco_labels import CocoLabels
from stages.upright import turned

PLACED = ("regions", "text_regions", "triplets")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a sample."""

    annotations: Annotations
    """The true annotations, without crowds."""
    kinds: tuple[str, ...]
    """The kinds that are known at all; labels of other kinds are not judged."""
    crowds: list[Region] = field(default_factory=list)
    """Regions of whole crowds; a label inside one is neither right nor wrong."""


def of_source(truth: Annotations, kinds: tuple[str, ...]) -> Truth:
    """What the source knows of a sample; `kinds` are the kinds that it knows of any sample."""
    crowds = [region for region in truth.regions if region.dropped == CROWD]
    return Truth(truth.kept(), kinds, crowds)


def of_people(record: Record) -> Truth | None:
    """The human labels of a sample, None when people have placed nothing in it."""
    human = record.annotations.kept().where(lambda annotation: annotation.locked)
    kinds = tuple(kind for kind in PLACED if getattr(human, kind))
    return Truth(human, kinds) if kinds else None


def of_coco(file: str, records: Iterable[Record]) -> Callable[[Record], Truth | None]:
    """The regions of a COCO file as truth, in pixels of the stored images.

    Args:
        file: the name of a JSON file with COCO instances, or any fsspec URL.
        records: the records of the round.

    Returns:
        A function from a record to its truth, None for images that are not in the file. An image is
        found by its file name, or by the record's key as the image's id.

    Raises:
        ValueError: the file cannot be read or has no COCO instances, it is not known which image is
            which record, or images have other sizes than in the round.
    """
    content = load(file, file)
    if not content.get("categories") and content["annotations"]:
        raise ValueError(
            f'{file}: expected COCO instances, {{"images": .., "annotations": ..,'
            ' "categories": ..}'
        )
    listed = images_of(file, content["images"], need_names=False)
    categories = categories_of(file, content.get("categories") or [])
    entries = entries_of(content["annotations"], listed)
    truth_file = TruthFile(file, listed, stated_upright(content), has_places=True)
    # Their annotations are not needed, and may be large.
    bare = [replace(record, annotations=Annotations()) for record in records]
    images = images_of_records(truth_file, bare)

    def truth_of(record: Record) -> Truth | None:
        image = images.get(record.key)
        if image is None:
            return None
        labels = CocoLabels(categories, entries.by_image.get(image.id, [])).on(image.size)
        if not image.upright:
            labels = turned(labels, image.picture.orientation, image.size)
        return of_source(labels, ("regions",))

    return truth_of
