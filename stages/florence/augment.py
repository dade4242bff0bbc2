"""Mirrored samples: twice the data from few images."""

from __future__ import annotations

import re
from dataclasses import replace

from pipeline.schema import Annotations, Box, Mask
from stages.base import Sample
from stages.geometry import decode_mask, encode_mask

_WORDS = re.compile(r"\w{2,}")  # one letter is an article rather than a quotation
_SIDES = re.compile(r"\b(left|right|clockwise|counterclockwise)\b", re.IGNORECASE)


def mirrored(sample: Sample) -> Sample:
    """The sample with left and right exchanged, without the labels that would be wrong: words to read, and texts that
    name a side or quote a word. One whose regions do so stays as it is: with a region missing it would teach to miss
    things."""
    width, old = sample.size[0], sample.annotations
    words = {word for sign in old.text_regions for word in _WORDS.findall(sign.text.lower())}

    def holds(phrase: str) -> bool:
        return not _SIDES.search(phrase) and words.isdisjoint(_WORDS.findall(phrase.lower()))

    def flip(box: Box) -> Box:
        return (width - box[2], box[1], width - box[0], box[3])

    texts = [t for t in old.texts if holds(t.text)]
    told = {t.id for t in texts}
    if not all(holds(f"{r.phrase} {r.brief or ''}") for r in old.regions):
        return sample
    annotations = Annotations(
        texts,
        [replace(r, box=flip(r.box), mask=_flipped(r.mask)) for r in old.regions],
        [],
        [
            replace(t, box=flip(t.box), mask=_flipped(t.mask))
            for t in old.triplets
            if t.text_id in told
        ],
    )
    return replace(sample, image=sample.pixels[:, ::-1], annotations=annotations)


def _flipped(mask: Mask | None) -> Mask | None:
    return None if mask is None else encode_mask(decode_mask(mask)[:, ::-1])
