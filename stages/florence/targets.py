"""Target strings of every task, built from annotations (Florence-2 paper, section 3).

A builder takes the kept annotations of an image and its size in pixels, and yields one target for
each example that the image can give. A target remembers where each annotation stands in it, so that
teacher forcing can tell how likely the model finds that annotation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from pipeline.schema import Annotation, Annotations, Box, Region, Triplet
from stages.florence.codec import SEPARATOR, Size, clean_label, location_tokens
from stages.florence.polygons import polygons
from stages.geometry import area, quad_bounds


class Target:
    """A target string under construction, and the input that its prompt asks about."""

    def __init__(self, prompt_input: str = "") -> None:
        self.prompt_input = prompt_input
        self.text = ""
        self.label_spans: dict[str, list[tuple[int, int]]] = {}

    def add(self, text: str, owners: Iterable[Annotation] = ()) -> Target:
        """Append text. It counts as the label of each owner."""
        start = len(self.text)
        span = (start, start + len(text))
        for owner in owners:
            self.label_spans.setdefault(owner.id, []).append(span)
        self.text += text
        return self


Builder = Callable[[Annotations, Size], Iterable[Target]]


def texts(granularity: str) -> Builder:
    """Each text of this granularity.

    Prompt input: none. Target: `A red car on a road.`
    """

    def build(annotations: Annotations, size: Size) -> Iterator[Target]:
        for text in annotations.texts:
            if text.granularity == granularity:
                yield Target().add(clean_label(text.text), [text])

    return build


def detection(annotations: Annotations, size: Size) -> Iterator[Target]:
    """All categories in alphabetical order, each followed by its boxes, the largest first.

    Prompt input: none. Target, with boxes written [1] [2] ..: `car[1][2]door[3]`.
    """

    def order(region: Region) -> tuple[str, float, Box]:
        return (region.phrase, *_largest_first(region.box))

    ordered = sorted(annotations.regions, key=order)
    return _grouped(ordered, size, category)


def dense_captions(annotations: Annotations, size: Size) -> Iterator[Target]:
    """All descriptions, each followed by its boxes; the one with the largest box first.

    Prompt input: none. Target: `red car[1][2]old door[3]`.
    """
    largest: dict[str, float] = {}
    for region in annotations.regions:
        name = description(region)
        largest_so_far = largest.get(name, 0.0)
        largest[name] = max(largest_so_far, area(region.box))

    def order(region: Region) -> tuple[float, str, float, Box]:
        name = description(region)
        return (-largest[name], name, *_largest_first(region.box))

    ordered = sorted(annotations.regions, key=order)
    return _grouped(ordered, size, description)


def proposals(annotations: Annotations, size: Size) -> Iterator[Target]:
    """All boxes without labels, the largest first.

    Prompt input: none. Target: `[1][2][3]`.
    """
    target = Target()
    for region in sorted(annotations.regions, key=_largest_region_first):
        target.add(location_tokens(region.box, size), [region])
    if annotations.regions:
        yield target


def grounding(annotations: Annotations, size: Size) -> Iterator[Target]:
    """For each text its phrases in reading order, each followed by its boxes, the largest first.

    Prompt input: the text. Target: `A red car[1]a road[2]`. Texts without phrases give no target.
    """
    for text in annotations.texts:
        triplets = [t for t in annotations.triplets if t.text_id == text.id]
        triplets.sort(key=lambda t: (t.start, t.end, *_largest_first(t.box)))
        target = Target(clean_label(text.text))
        for (start, end), group in groupby(triplets, key=_phrase_span):
            phrase = text.text[start:end]
            _add_with_boxes(target, phrase, list(group), size)
        if triplets:
            yield target


def open_vocabulary(annotations: Annotations, size: Size) -> Iterator[Target]:
    """For each category its boxes, the largest first; the label is repeated before every box.

    Prompt input: the category. Target: `car[1]car[2]`.
    """
    ordered = sorted(annotations.regions, key=category)
    for name, group in groupby(ordered, key=category):
        label = clean_label(name)
        target = Target(label)
        for region in sorted(group, key=_largest_region_first):
            box = location_tokens(region.box, size)
            target.add(label + box, [region])
        yield target


def referring_boxes(annotations: Annotations, size: Size) -> Iterator[Target]:
    """Each description that only one region of the image has, and that region's box.

    Prompt input: the description. Target: `red car[1]`.
    """
    counts = Counter(clean_label(description(region)) for region in annotations.regions)
    for region in annotations.regions:
        expression = clean_label(description(region))
        if expression and counts[expression] == 1:
            target = Target(expression)
            target.add(expression, [region])
            target.add(location_tokens(region.box, size), [region])
            yield target


def referring_masks(annotations: Annotations, size: Size) -> Iterator[Target]:
    """The mask of each phrase that has exactly one box, so that the words tell which is meant.

    Prompt input: the phrase. Target: the outlines of the mask, separated by `<sep>`. Masks without
    an outline give no target.
    """
    # Boxes of each phrase.
    counts = Counter((t.text_id, t.start, t.end) for t in annotations.triplets)
    for triplet in annotations.triplets:
        if counts[triplet.text_id, triplet.start, triplet.end] != 1:
            continue
        phrase = clean_label(triplet.phrase)
        target = _outlined(triplet, size, phrase)
        if target.text:
            yield target


def region_masks(annotations: Annotations, size: Size) -> Iterator[Target]:
    """The mask of each region.

    Prompt input: its box. Target: the outlines of the mask, separated by `<sep>`. Masks without an
    outline give no target.
    """
    for region in annotations.regions:
        box = location_tokens(region.box, size)
        target = _outlined(region, size, box)
        if target.text:
            yield target


def region_labels(label: Callable[[Region], str]) -> Builder:
    """The label of each region.

    Prompt input: its box. Target: `red car[1]`. The box is repeated, but it is not part of the
    label.
    """

    def build(annotations: Annotations, size: Size) -> Iterator[Target]:
        for region in annotations.regions:
            box = location_tokens(region.box, size)
            text = clean_label(label(region))
            target = Target(box)
            target.add(text, [region])
            target.add(box)
            yield target

    return build


def region_ocr(annotations: Annotations, size: Size) -> Iterator[Target]:
    """The text of each text region.

    Prompt input: the box around its quad. Target: `EXIT`.
    """
    for region in annotations.text_regions:
        box = location_tokens(quad_bounds(region.quad), size)
        text = clean_label(region.text)
        yield Target(box).add(text, [region])


def ocr(annotations: Annotations, size: Size) -> Iterator[Target]:
    """All text regions in reading order, one a line.

    Prompt input: none. Target: `EXIT`, a line break, `Platform 2`.
    """
    target = Target()
    for region in annotations.text_regions:
        if target.text:
            target.add("\n")
        target.add(clean_label(region.text), [region])
    if annotations.text_regions:
        yield target


def ocr_with_quads(annotations: Annotations, size: Size) -> Iterator[Target]:
    """All text regions in reading order, each followed by its quad.

    Prompt input: none. Target: `EXIT[1]Platform 2[2]`, where a quad has eight locations.
    """
    target = Target()
    for region in annotations.text_regions:
        text = clean_label(region.text)
        quad = location_tokens(region.quad, size)
        target.add(text + quad, [region])
    if annotations.text_regions:
        yield target


def questions(annotations: Annotations, size: Size) -> Iterator[Target]:
    """Nothing: our annotations hold no questions."""
    return iter(())


def category(region: Region) -> str:
    """The name of the region's class."""
    return region.phrase


def description(region: Region) -> str:
    """What the region shows: its brief text, or its category if it has none."""
    return region.brief or region.phrase


def _grouped(
    regions: Sequence[Region],
    size: Size,
    label: Callable[[Region], str],
) -> Iterator[Target]:
    """One target: each label once, then the boxes that share it.

    `regions` of one label stand next to each other. No regions give no target.
    """
    target = Target()
    for name, group in groupby(regions, key=label):
        _add_with_boxes(target, name, list(group), size)
    if regions:
        yield target


def _add_with_boxes(
    target: Target,
    label: str,
    owners: Sequence[Region | Triplet],
    size: Size,
) -> None:
    """Append a label and the boxes that share it.

    The label is that of all owners, each box that of its own one.
    """
    target.add(clean_label(label), owners)
    for owner in owners:
        target.add(location_tokens(owner.box, size), [owner])


def _phrase_span(triplet: Triplet) -> tuple[int, int]:
    """Where the phrase stands in its text, as (start, end) in characters."""
    return (triplet.start, triplet.end)


def _outlined(owner: Region | Triplet, size: Size, prompt_input: str) -> Target:
    """The outlines of a mask; empty if there is no mask or it is too small for an outline."""
    parts: list[str] = []
    if owner.mask is not None:
        parts = [location_tokens(polygon, size) for polygon in polygons(owner.mask)]
    outlines = SEPARATOR.join(parts)
    return Target(prompt_input).add(outlines, [owner])


def _largest_region_first(region: Region) -> tuple[float, Box]:
    """Sort key: the region with the larger box first."""
    return _largest_first(region.box)


def _largest_first(box: Box) -> tuple[float, Box]:
    """Sort key: the larger box first; boxes of the same area by their coordinates."""
    return (-area(box), box)
