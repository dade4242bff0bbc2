"""Mirrored samples: twice the data from few images."""

from __future__ import annotations

import re
from dataclasses import replace

from pipeline.schema import Annotations, Box
from stages.base import Sample

_SIDES = re.compile(r"\b(left|right|clockwise|counterclockwise)\b", re.IGNORECASE)


def mirrored(sample: Sample) -> Sample:
    """The sample with left and right exchanged, without the labels that would be wrong: words to read, phrases that
    name a side or quote a word, and masks."""
    width, old = sample.size[0], sample.annotations
    words = [sign.text.lower() for sign in old.text_regions]

    def holds(phrase: str) -> bool:
        return not _SIDES.search(phrase) and not any(word in phrase.lower() for word in words)

    def flip(box: Box) -> Box:
        return (width - box[2], box[1], width - box[0], box[3])

    texts = [t for t in old.texts if holds(t.text)]
    told = {t.id for t in texts}
    annotations = Annotations(
        texts,
        [replace(r, box=flip(r.box), mask=None) for r in old.regions if holds(f"{r.phrase} {r.brief or ''}")],
        [],
        [replace(t, box=flip(t.box), mask=None) for t in old.triplets if t.text_id in told],
    )
    return replace(sample, image=sample.pixels[:, ::-1], annotations=annotations)
