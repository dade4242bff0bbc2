"""Images with CVAT's XML ("CVAT for images 1.1"): boxes, polygons and masks made by people.

`cvat_file.py` says what of the XML counts. It is read as `coco.py` reads a file of COCO.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from stages.base import MAY_CHANGE
from stages.sources.coco import INSTANCES, CocoFile, CocoFiles, CocoSource
from stages.sources.coco_file import read_bytes
from stages.sources.cvat_file import read_cvat


@dataclass(frozen=True, slots=True, kw_only=True)
class CvatConfig:
    """A corrected file redoes the shards whose labels changed; new images in it come in, too."""

    path: str
    """The folder of images, any fsspec URL."""

    xml: str = field(metadata=MAY_CHANGE)
    """CVAT's XML file, any fsspec URL."""

    annotations: Literal["labels", "truth"] = "labels"
    """Whether they enter the run as human labels, or are truth to measure against."""

    upright: bool | None = field(default=None, metadata=MAY_CHANGE)
    """As of the source `coco`: whether they were drawn on upright pictures; null: the sizes
    decide."""


class CvatSource(CocoSource):
    """The images that the XML lists."""

    gives: ClassVar[tuple[str, ...]] = ("regions",)
    listed_by: ClassVar[tuple[str, ...]] = ("xml",)

    def __init__(self, config: CvatConfig) -> None:
        self._where = f"source.xml={config.xml}"
        self._found = read_cvat(self._where, read_bytes(self._where, config.xml))
        file = CocoFile(self._where, INSTANCES, self._found.content())
        self._begin(CocoFiles(config.path, config.annotations, config.upright), [file])

    def list(self) -> list[str]:
        """All names; what is left out of the XML is told here, because it is told once."""
        if self._found.left_out:
            logging.getLogger("fld").warning(
                "%s: %d tags, points, lines and skeletons are left out",
                self._where,
                self._found.left_out,
            )
        return super().list()
