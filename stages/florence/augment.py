"""Mirrored samples: twice the training data from the same images."""

from __future__ import annotations

import re
from dataclasses import replace

from pipeline.schema import Annotations, Box, Mask, Region, TextRegion, Triplet
from stages.base import Sample
from stages.geometry import decode_mask, encode_mask

_WORDS = re.compile(r"\w{2,}")  # a single letter is more likely an article than a quotation
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
        if not _stays_true(f"{region.phrase} {region.brief or ''}", quotable):
            return sample
    texts = [text for text in old.texts if _stays_true(text.text, quotable)]
    text_ids = {text.id for text in texts}
    triplets = [triplet for triplet in old.triplets if triplet.text_id in text_ids]
    annotations = Annotations(
        texts=texts,
        regions=[_mirror_region(region, width) for region in old.regions],
        text_regions=[],
        triplets=[_mirror_triplet(triplet, width) for triplet in triplets],
    )
    return replace(sample, image=sample.pixels[:, ::-1], annotations=annotations)


def _words_in_image(text_regions: list[TextRegion]) -> set[str]:
    words: set[str] = set()
    for region in text_regions:
        words.update(_WORDS.findall(region.text.lower()))
    return words


def _stays_true(text: str, quotable: set[str]) -> bool:
    """Whether the text names no side and quotes no word of the image."""
    if _SIDES.search(text):
        return False
    return quotable.isdisjoint(_WORDS.findall(text.lower()))


def _mirror_region(region: Region, width: int) -> Region:
    return replace(region, box=_mirror_box(region.box, width), mask=_mirror_mask(region.mask))


def _mirror_triplet(triplet: Triplet, width: int) -> Triplet:
    return replace(triplet, box=_mirror_box(triplet.box, width), mask=_mirror_mask(triplet.mask))


def _mirror_box(box: Box, width: int) -> Box:
    x1, y1, x2, y2 = box
    return (width - x2, y1, width - x1, y2)


def _mirror_mask(mask: Mask | None) -> Mask | None:
    if mask is None:
        return None
    return encode_mask(decode_mask(mask)[:, ::-1])
