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

    A sample that cannot be mirrored (`true_in_mirror`) is returned unchanged.
    """
    width = sample.size[0]
    stay = true_in_mirror(sample.annotations)
    if stay is None:
        return sample
    annotations = replace(
        stay,
        regions=mirror_boxed(stay.regions, width),
        triplets=mirror_boxed(stay.triplets, width),
    )
    image = sample.pixels[:, ::-1]
    return replace(sample, image=image, annotations=annotations)


def true_in_mirror(annotations: Annotations) -> Annotations | None:
    """The labels that are still true when left and right are exchanged, at their old places.

    Words in the image cannot be read in a mirror, so text regions are left out. So are texts that
    name a side or quote a word of the image, together with their triplets. If a region's label
    does so, the result is None, because the sample cannot be mirrored: leaving out a region would
    teach a model to miss objects.
    """
    quotable = _words_in_image(annotations.text_regions)
    for region in annotations.regions:
        if not _stays_true(region_words(region), quotable):
            return None
    texts = [text for text in annotations.texts if _stays_true(text.text, quotable)]
    text_ids = {text.id for text in texts}
    triplets = [triplet for triplet in annotations.triplets if triplet.text_id in text_ids]
    return Annotations(texts=texts, regions=annotations.regions, triplets=triplets)


def region_words(region: Region) -> str:
    """All words of a region's label."""
    return f"{region.phrase} {region.brief or ''}"


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
