"""One sample as it is released: its labels, the bytes of its image, and its flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.release import blur
from pipeline.release.config import ReleaseConfig
from pipeline.release.content import LeftOut, content_of
from pipeline.release.personal import PersonalData
from pipeline.release.tables import FlagRow
from pipeline.rows import ImageRow, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A sample as it is released."""

    record: Record
    data: bytes
    """The bytes of the image file."""
    extension: str
    """Of the image file, without the dot."""
    flags: list[FlagRow]
    left_out: Sequence[LeftOut]
    """The annotations that are not released."""


class Releasing:
    """Makes released samples from those of a round."""

    def __init__(self, config: ReleaseConfig) -> None:
        self._config = config
        self._personal = PersonalData(config.phone_regions)

    def __call__(
        self,
        record: Record,
        image: ImageRow,
        data: bytes,
    ) -> Released:
        """A sample as it is released; `data` is the stored image."""
        mode = self._config.personal_data
        content = content_of(record, self._personal if mode == "remove" else None)
        released, extension = content.record, str(image.member).partition(".")[2]
        regions = blur.blurred_regions(record, self._config.blur)
        if regions:
            released, data = blur.with_blur(released, data, regions)
            extension = blur.EXTENSION
        flags = blur.flags(released, regions)
        if mode == "flag":
            flags += self._personal.flags(released)
        return Released(
            record=released,
            data=data,
            extension=extension,
            flags=flags,
            left_out=content.left_out,
        )
