"""Mirrored samples: twice the training data from the same images."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from pipeline.schema import Annotations, Box, Mask, Region, TextRegion, Triplet
from stages.base import Sample
from stages.geometry import decode_mask, encode_mask

Boxed = TypeVar("Boxed", Region, Triplet)
"""An annotation with a box and perhaps a mask."""

# A single letter is more likely an article than a quotation.
_WORDS = re.compile(r"\w{2,}")
_SIDES = re.compile(r"\b(left|right|clockwise|counterclockwise)\b", re.IGNORECASE)


def mirrored(sample: Sample) -> Sample:
    """Exchange left and right in a sample, and leave out the labels that would become wrong.

    Words in the image cannot be read in a mirror, so text regions are left out. So are texts that
    name a side or quote a word of the image, together with their triplets. If a region's label
    does so, the sample is returned unchanged: leaving out a region would teach the model to miss
    objects.
    """
    width = sample.size[0]
    old = sample.annotations
    quotable = _words_in_image(old.text_regions)
    for region in old.regions:
        label = f"{region.phrase} {region.brief or ''}"
        if not _stays_true(label, quotable):
            return sample
    texts = [text for text in old.texts if _stays_true(text.text, quotable)]
    text_ids = {text.id for text in texts}
    triplets = [triplet for triplet in old.triplets if triplet.text_id in text_ids]
    annotations = Annotations(
        texts=texts,
        regions=mirror_boxed(old.regions, width),
        text_regions=[],
        triplets=mirror_boxed(triplets, width),
    )
    image = sample.pixels[:, ::-1]
    return replace(sample, image=image, annotations=annotations)


def _words_in_image(text_regions: list[TextRegion]) -> set[str]:
    """The words of all text regions, in lower case."""
    words: set[str] = set()
    for region in text_regions:
        words.update(_WORDS.findall(region.text.lower()))
    return words


def _stays_true(text: str, quotable: set[str]) -> bool:
    """Whether the text names no side and quotes no word of the image."""
    if names_side(text):
        return False
    words = _WORDS.findall(text.lower())
    return quotable.isdisjoint(words)


def names_side(text: str) -> bool:
    """Whether the text is no longer true when left and right are exchanged."""
    return _SIDES.search(text) is not None


def mirror_boxed(items: list[Boxed], width: int) -> list[Boxed]:
    """Regions or triplets of an image of this width in pixels, with their boxes and masks."""
    result = []
    for item in items:
        box = _mirror_box(item.box, width)
        mask = _mirror_mask(item.mask)
        result.append(replace(item, box=box, mask=mask))
    return result


def _mirror_box(box: Box, width: int) -> Box:
    """The left side becomes the right one."""
    x1, y1, x2, y2 = box
    return (width - x2, y1, width - x1, y2)


def _mirror_mask(mask: Mask | None) -> Mask | None:
    if mask is None:
        return None
    pixels = decode_mask(mask)
    return encode_mask(pixels[:, ::-1])
