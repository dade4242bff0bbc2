"""Images with COCO annotations: boxes, masks and captions of people, as labels of the run or as truth to measure by.

Labels enter as annotations of source `human`, which no stage changes or drops: a box with its category, its mask and
COCO's own id; a caption as a brief text. Keypoints are left aside, the person's box stays. A crowd (`iscrowd`) is no
single object: it comes in with the reason `crowd`, kept for the way back to COCO and used for nothing else. An entry
that makes no sense comes in with its reason, too. COCO's convention is the pixel grid of the file, before any EXIF
orientation; `upright` says that the labels were drawn on the picture as viewers turn it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pipeline.schema import CROWD, HUMAN, Annotations, Region, Text
from stages.base import MAY_CHANGE, SampleError
from stages.ingest import SUFFIXES, Item
from stages.sources.alt import encodable
from stages.sources.files import Files, printable
from stages.sources.shapes import box_of, is_number, mask_of

UNKNOWN_CATEGORY, MALFORMED_CAPTION = "unknown_category", "malformed_caption"
NOWHERE = (0.0, 0.0, 0.0, 0.0)  # the box of a label that has none

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoConfig:
    """`path` is the folder of images; `instances` and `captions` are COCO's JSON files (any fsspec URL), at least one.

    A corrected file redoes the shards whose labels changed; new images in it come in beside the others. Each worker of
    ingest holds the files in memory.
    """

    path: str
    instances: str | None = field(default=None, metadata=MAY_CHANGE)
    captions: str | None = field(default=None, metadata=MAY_CHANGE)
    annotations: Literal["labels", "truth"] = "labels"
    upright: bool = False


@dataclass(slots=True)
class CocoImage:
    """What the files say of one image."""

    size: tuple[int, int] | None
    instances: list[Entry] = field(default_factory=list)
    captions: list[Entry] = field(default_factory=list)


class CocoSource:
    whole: ClassVar[bool] = False

    def __init__(self, config: CocoConfig) -> None:
        if not (config.instances or config.captions):
            raise ValueError(
                "source.instances and source.captions: neither is set; give a COCO JSON file"
            )
        self._files, self.config = Files(config.path, SUFFIXES), config
        self._images: dict[str, CocoImage] = {}
        self._categories: dict[Any, str] = {}
        for kind in ("instances", "captions"):
            if getattr(config, kind):
                self._read(kind, getattr(config, kind))

    def list(self) -> list[str]:
        return sorted(self._images)

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name, data in zip(names, self._files.read(names), strict=True):
            image = self._images.get(name, CocoImage(None))
            labels = labels_of(image, self._categories)
            is_truth = self.config.annotations == "truth"
            failed = data if isinstance(data, SampleError) else None
            yield Item(
                name,
                None if isinstance(data, SampleError) else data,
                failed=failed,
                size=image.size,
                given=Annotations() if is_truth else labels,
                truth=labels if is_truth else None,
                upright=self.config.upright,
            )

    def revision(self, names: Sequence[str]) -> str:
        told = [self._images.get(name, CocoImage(None)) for name in names]
        said = [(image.size, image.instances, image.captions) for image in told]
        used = {
            entry.get("category_id")
            for image in told
            for entry in image.instances
            if _hashable(entry)
        }
        categories = sorted(
            (str(id_), name) for id_, name in self._categories.items() if id_ in used
        )
        text = json.dumps(
            [said, categories, self.config.annotations, self.config.upright], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def _read(self, kind: str, url: str) -> None:
        value = _load(kind, url)
        names: dict[Any, str] = {}
        for image in value["images"]:
            if (
                not isinstance(image, dict)
                or not isinstance(image.get("file_name"), str)
                or "id" not in image
            ):
                raise ValueError(
                    f"source.{kind}={url}: an image without file_name or id: {str(image)[:100]}"
                )
            name = names[str(image["id"])] = printable(image["file_name"])
            width, height = image.get("width"), image.get("height")
            size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
            self._images.setdefault(name, CocoImage(size))
        for category in value.get("categories") or []:
            known = (
                isinstance(category, dict)
                and isinstance(category.get("id"), int | str)
                and "name" in category
            )
            if not known:
                raise ValueError(
                    f"source.{kind}={url}: a category without id or name: {str(category)[:100]}"
                )
            self._categories[category["id"]] = str(category["name"])
        strangers = 0
        for entry in value["annotations"]:
            image = names.get(str(entry.get("image_id"))) if isinstance(entry, dict) else None
            if image is None:
                strangers += 1
            else:
                getattr(self._images[image], kind).append(entry)
        if strangers:
            logging.getLogger("fld").warning(
                "source.%s=%s: %d annotations of images that it does not list are left out",
                kind,
                url,
                strangers,
            )


def labels_of(image: CocoImage, categories: Mapping[Any, str]) -> Annotations:
    """Everything that was said of an image, as annotations."""
    ids = set[str]()
    return Annotations(
        regions=[
            _region(entry, _id("regions", entry, ids), image.size, categories)
            for entry in image.instances
        ],
        texts=[_text(entry, _id("texts", entry, ids)) for entry in image.captions],
    )


def _region(
    entry: Entry, id_: str, size: tuple[int, int] | None, categories: Mapping[Any, str]
) -> Region:
    phrase = categories.get(entry.get("category_id")) if _hashable(entry) else None
    box, problem = box_of(entry.get("bbox"), size)
    mask, bad_mask = mask_of(entry.get("segmentation"), size)
    reason = problem or bad_mask or (UNKNOWN_CATEGORY if phrase is None else None)
    crowd = CROWD if entry.get("iscrowd") == 1 else None
    return Region(
        id=id_,
        source=HUMAN,
        box=box or NOWHERE,
        phrase=phrase or "",
        mask=mask,
        dropped=reason or crowd,
    )


def _text(entry: Entry, id_: str) -> Text:
    caption = entry.get("caption")
    text = encodable(caption) if isinstance(caption, str) else ""
    reason = None if text.strip() else MALFORMED_CAPTION
    return Text(id=id_, source=HUMAN, granularity="brief", text=text, dropped=reason)


def _id(kind: str, entry: Entry, taken: set[str]) -> str:
    """COCO's own id, so that a label keeps its name when others come; a number where there is none."""
    own = entry.get("id")
    id_ = f"{HUMAN}.{kind}.{own if is_number(own) else f'x{len(taken)}'}"
    if id_ in taken:
        id_ = f"{id_}x{len(taken)}"
    taken.add(id_)
    return id_


def _hashable(entry: Entry) -> bool:
    return isinstance(entry.get("category_id"), int | str)


def _load(kind: str, url: str) -> Any:
    """Raises:
    ValueError: it is no COCO file.
    """
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            value = json.load(file)
    except FileNotFoundError:
        raise ValueError(f"source.{kind}={url}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"source.{kind}={url}: not JSON ({error})") from None
    expected = {"images": list, "annotations": list, "categories": list | None}
    if not (
        isinstance(value, dict)
        and all(isinstance(value.get(key), type_) for key, type_ in expected.items())
    ):
        raise ValueError(f'source.{kind}={url}: expected {{"images": [...], "annotations": [...]}}')
    return value
