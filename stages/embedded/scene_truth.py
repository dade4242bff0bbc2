"""The exact annotations of a rendered scene.

In: a `Drawing`: the visible pixels of every object. Out: `Annotations` with the source 'truth'.
Boxes are tight around the visible pixels, and masks hold exactly these pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.schema import Annotations, Box, Mask, Quad, Region, Text, TextRegion, Triplet
from stages.embedded.domains import SIGN, SceneDomain
from stages.embedded.scene_text import Mention, SceneObject, describe_scene
from stages.geometry import encode_mask

# Pixels of a sign around the ink of its word.
SIGN_MARGIN_X = 8
SIGN_MARGIN_Y = 7


@dataclass(frozen=True, slots=True)
class VisibleObject:
    """An object of a scene and its visible pixels."""

    object: SceneObject
    """Names and box of the object."""

    visible: np.ndarray
    """(height, width) bool."""

    hidden: float
    """The share of its pixels that later shapes hide."""

    @property
    def area(self) -> int:
        """Number of visible pixels."""
        return int(self.visible.sum())

    @property
    def is_sign(self) -> bool:
        """Whether the object is a sign."""
        return self.object.category == SIGN


@dataclass(frozen=True, slots=True)
class Drawing:
    """A scene before noise is added."""

    image: np.ndarray
    """(height, width, 3) float64 RGB, 0 to 255."""

    objects: list[VisibleObject]
    """Largest visible area first, the sign last."""

    word: str
    """The sign's word; '' if there is no sign."""


def truth_of(domain: SceneDomain, drawing: Drawing) -> Annotations:
    """The exact annotations of a drawing."""
    objects = [item.object for item in drawing.objects]
    masks = [encode_mask(item.visible) for item in drawing.objects]
    sign_texts = [drawing.word] if drawing.word else []
    texts = describe_scene(domain, objects, sign_texts)
    brief = Text(
        id="truth.t0",
        source="truth",
        granularity="brief",
        text=texts.brief,
    )
    detailed = Text(
        id="truth.t1",
        source="truth",
        granularity="detailed",
        text=texts.detailed,
    )

    grounded = [(brief.id, mention) for mention in texts.brief_mentions]
    grounded += [(detailed.id, mention) for mention in texts.detailed_mentions]
    triplets = []
    for number, (text_id, mention) in enumerate(grounded):
        index = mention.object_index
        triplet = _triplet(
            f"truth.p{number}",
            text_id,
            mention,
            box=objects[index].box,
            mask=masks[index],
        )
        triplets.append(triplet)
    return Annotations(
        texts=[brief, detailed],
        regions=_regions(objects, masks),
        text_regions=_sign_text_regions(objects, drawing.word),
        triplets=triplets,
    )


def _regions(objects: Sequence[SceneObject], masks: Sequence[Mask]) -> list[Region]:
    """One region per object, in the same order."""
    regions = []
    for index, (item, mask) in enumerate(zip(objects, masks, strict=True)):
        region = Region(
            id=f"truth.r{index}",
            source="truth",
            box=item.box,
            phrase=item.category,
            brief=item.brief,
            mask=mask,
        )
        regions.append(region)
    return regions


def _sign_text_regions(objects: Sequence[SceneObject], word: str) -> list[TextRegion]:
    """The text region of the sign; none for a scene without one."""
    signs = [item for item in objects if item.category == SIGN]
    return [
        TextRegion(id="truth.o0", source="truth", quad=_ink_quad(sign.box), text=word)
        for sign in signs
    ]


def _triplet(triplet_id: str, text_id: str, mention: Mention, box: Box, mask: Mask) -> Triplet:
    """The triplet of one mention; `box` and `mask` are the object's."""
    phrase = mention.phrase
    return Triplet(
        id=triplet_id,
        source="truth",
        text_id=text_id,
        phrase=phrase.text,
        start=phrase.start,
        end=phrase.end,
        box=box,
        mask=mask,
    )


def _ink_quad(plate: Box) -> Quad:
    """The box of the word's ink as a quad: the plate without its margins."""
    left, top, right, bottom = plate
    x1 = left + SIGN_MARGIN_X
    y1 = top + SIGN_MARGIN_Y
    x2 = right - SIGN_MARGIN_X
    y2 = bottom - SIGN_MARGIN_Y
    return (x1, y1, x2, y1, x2, y2, x1, y2)
