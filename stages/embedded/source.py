"""Rendered scenes as a source of images.

Their truth is exact, so every type of annotation can be measured on them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stages.base import MAY_CHANGE
from stages.ingest import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenesConfig:
    """Settings of the source `scenes`."""

    count: int = field(default=240, metadata=MAY_CHANGE)
    """Number of scenes."""

    seed: int = 0
    """Seed of the scenes; another seed gives other scenes."""


class ScenesSource:
    """Scenes of the demo's domain as JPEG files."""

    whole: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ScenesConfig) -> None:
        self.config = config

    def list(self) -> list[str]:
        """The file name of every scene."""
        return [f"scene_{index:06d}.jpg" for index in range(self.config.count)]

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        """Renders the scenes with these file names, in order."""
        from PIL import Image

        from stages.embedded.scenes import DEMO, render

        for name in names:
            index = int(name.removeprefix("scene_").removesuffix(".jpg"))
            scene = render(DEMO, self.config.seed, index)
            buffer = io.BytesIO()
            Image.fromarray(scene.image).save(buffer, "JPEG", quality=95)
            yield Item(name, buffer.getvalue(), truth=scene.truth)

    def revision(self, names: Sequence[str]) -> str:
        """Scenes never change, so their revision is empty."""
        return ""
