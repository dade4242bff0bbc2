"""Rendered scenes as a source of images with exact truth: every annotation type can be measured on them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stages.base import MAY_CHANGE
from stages.ingest import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenesConfig:
    """`count` scenes of the demo's world; `seed` picks other ones."""

    count: int = field(default=240, metadata=MAY_CHANGE)
    seed: int = 0


class ScenesSource:
    whole: ClassVar[bool] = False

    def __init__(self, config: ScenesConfig) -> None:
        self.config = config

    def list(self) -> list[str]:
        return [f"scene_{index:06d}.jpg" for index in range(self.config.count)]

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        from PIL import Image

        from stages.embedded.scenes import DEMO, render

        for name in names:
            scene = render(DEMO, self.config.seed, int(name[6:12]))
            buffer = io.BytesIO()
            Image.fromarray(scene.image).save(buffer, "JPEG", quality=95)
            yield Item(name, buffer.getvalue(), truth=scene.truth)

    def revision(self, names: Sequence[str]) -> str:
        return ""
