"""Rendered scenes as a source of images.

Their truth is exact, so every type of annotation can be measured on them. A share of them may come
with human labels.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

from pipeline.schema import HUMAN, REVIEW, REVIEWED, Annotations, Region, Text, TextRegion
from stages.base import ADDED, MAY_CHANGE
from stages.ranges import NotNegative, Share
from stages.source import Item

# Who reviewed a scene that comes with human labels.
REVIEWER = "scenes"
NO_BOX = (0.0, 0.0, 0.0, 0.0)
NO_QUAD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

Label = TypeVar("Label", Text, Region, TextRegion)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenesConfig:
    """Settings of the source `scenes`."""

    count: int = field(default=240, metadata=MAY_CHANGE)
    """Number of scenes."""

    seed: int = 0
    """Seed of the scenes; another seed gives other scenes."""

    zipf: NotNegative = field(default=0.0, metadata=ADDED)
    """Exponent of Zipf's law for a long tail of categories: the n-th category is drawn with a
    probability proportional to n ** -zipf; 0 makes all equally likely."""

    human: Share = field(default=0.0, metadata=ADDED)
    """Share of the scenes that come with human labels, as if people had reviewed them: the true
    regions, words and brief text. A larger share holds those of a smaller one."""


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

        domain = replace(DEMO, zipf=self.config.zipf)
        for name in names:
            index = int(name.removeprefix("scene_").removesuffix(".jpg"))
            scene = render(domain, self.config.seed, index)
            buffer = io.BytesIO()
            Image.fromarray(scene.image).save(buffer, "JPEG", quality=95)
            given = Annotations()
            if _is_reviewed(name, self.config.human):
                given = as_reviewed(scene.truth)
            yield Item(name, buffer.getvalue(), given=given, truth=scene.truth)

    def revision(self, names: Sequence[str]) -> str:
        """Scenes never change, so their revision is empty."""
        return ""


def _is_reviewed(name: str, share: float) -> bool:
    """Whether a scene is among the `share` that comes with human labels."""
    place = zlib.crc32(f"human {name}".encode()) / 2**32
    return place < share


def as_reviewed(truth: Annotations) -> Annotations:
    """The labels of a person who says what is true of the regions, the words and the brief text.

    They hold the marks that these groups of labels are complete (`pipeline.schema.REVIEWED`).
    """
    labels = Annotations(
        texts=[_by_person(text) for text in truth.texts if text.granularity == "brief"],
        regions=[_by_person(region) for region in truth.regions],
        text_regions=[_by_person(word) for word in truth.text_regions],
    )
    no_text = Text(granularity="brief", text="", dropped=REVIEWED)
    no_region = Region(box=NO_BOX, phrase="", dropped=REVIEWED)
    no_word = TextRegion(quad=NO_QUAD, text="", dropped=REVIEWED)
    labels.texts.append(_by_person(no_text, _mark("brief")))
    labels.regions.append(_by_person(no_region, _mark("regions")))
    labels.text_regions.append(_by_person(no_word, _mark("text_regions")))
    return labels


def _mark(group: str) -> str:
    """The id of the mark that a group of labels is complete."""
    return f"{HUMAN}.{group}.{REVIEWED}"


def _by_person(label: Label, id_: str = "") -> Label:
    """A label of a person; without an id, the ingest gives it one."""
    return replace(label, id=id_, source=HUMAN, model=REVIEW, revision=REVIEWER)
