"""The annotations that flow between stages; `rows` has the rows of tables that hold them.

No other file invents a field.

Conventions: boxes are xyxy in absolute pixels of the stored (upright) image, x to the right and y
down, edges 0..width and 0..height. Quads are four points (x, y), clockwise from the top left. Masks
are COCO run-length encodings. One annotation is one text, one region, one text region, or one
phrase-box pair of a text (the unit that the paper's Table 2 counts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

SCHEMA_VERSION = 1

Box = tuple[float, float, float, float]
Quad = tuple[float, float, float, float, float, float, float, float]
Polygon = tuple[float, ...]
"""x0, y0, x1, y1 .. of its corners in pixels, at least three."""
Granularity = Literal["brief", "detailed", "more_detailed", "alt", "label"]
BriefKind = Literal["phrase", "caption", "chunk"]
HUMAN = "human"
"""The source of human labels."""
CROWD = "crowd"
"""Why a human region of a whole crowd is dropped: no model is trained on it."""
REVIEWED = "reviewed"
"""Why a label of a machine is dropped that people have reviewed: theirs stand in its place. As a
human label it marks a group of labels as complete (`pipeline.quality.reviewed`)."""
REVIEW = "review"
"""The model of a label that came with a review."""
IMAGE_SCORE = "image_score"
"""Why a region that holds a score of the whole image is dropped: it is a note, and no label."""
FINDING = "finding"
"""Why a region that was found for review only, such as a face, is dropped: it is no label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A mask as a COCO run-length encoding."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    counts: str
    """The compressed ASCII string of pycocotools."""
    polygons: tuple[Polygon, ...] | None = None
    """The outline that the source gave, turned with the picture; None if it gave no polygons. A
    changed mask is a new one, which has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NounPhrase:
    """A noun phrase of a text."""

    text: str
    start: int
    """First character in the text."""
    end: int
    """The character after the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parse:
    """What spaCy finds in a text (paper sections 4.2 and 5.2)."""

    tokens: int
    objects: list[str]
    attributes: list[str]
    actions: list[str]
    proper_nouns: list[str]
    object_complexity: int
    """The largest undirected degree of an object in the dependency tree, 0 without objects."""
    action_complexity: int
    """The same of the actions."""
    object_complexity_mean: float
    """The mean degree of the objects, which the paper's Table 3 reports."""
    action_complexity_mean: float
    """The mean degree of the actions."""
    noun_phrases: list[NounPhrase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One possible brief text of a region."""

    text: str
    kind: BriefKind
    """The category, the caption of the crop, or a noun chunk of that caption."""
    score: float | None = None
    """Image-text score, None before it is scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What every annotation carries: its origin, how sure its maker was, and whether it is kept.

    The worker fills in `id`, `source`, `model`, `revision` and `round`; a stage leaves them empty.
    """

    id: str = ""
    """Unique in its sample: ROUND.STAGE.KIND.NUMBER."""
    source: str = ""
    """The stage that made it, or `human`."""
    model: str = ""
    """The name of the stage's model, or of the stage's class if it has no model."""
    revision: str = ""
    """The commit or the content of that model."""
    round: int = 0
    """The round in which it was made."""
    score: float | None = None
    """The raw score of its source."""
    confidence: float | None = None
    """How likely the merge believes it to be right, None before any merge."""
    support: float | None = None
    """Mean log-probability per token that the round's model gives to it, in nats."""
    agreement: float | None = None
    """The share of an ensemble's members that agree on it, None for a single specialist."""
    parents: list[str] = field(default_factory=list)
    """The ids of the annotations that it was made from."""
    dropped: str | None = None
    """None if it is kept, or the reason in snake_case."""

    @property
    def locked(self) -> bool:
        """Whether it is a human label: those are never changed by a machine."""
        return self.source == HUMAN

    @property
    def is_dropped_by_review(self) -> bool:
        """Whether it is a machine's label about which people have decided in a review."""
        return self.dropped == REVIEWED and not self.locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Annotation):
    """A text about the whole image."""

    granularity: Granularity
    """How detailed it is; `alt` texts were given by the source. A `label` is the name of what the
    picture shows, as data sets for classification have it."""
    text: str
    parse: Parse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Annotation):
    """A box with a label."""

    box: Box
    phrase: str
    """Its category."""
    brief: str | None = None
    """The candidate with the best image-text score (paper section 4.3)."""
    brief_kind: BriefKind | None = None
    """Which kind of candidate that is."""
    candidates: list[Candidate] = field(default_factory=list)
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRegion(Annotation):
    """A string that is written in the image (OCR)."""

    quad: Quad
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet(Annotation):
    """A noun phrase of a text, tied to one box."""

    text_id: str
    """The id of the text."""
    phrase: str
    start: int
    """First character in the text."""
    end: int
    """The character after the last one."""
    box: Box
    phrase_score: float | None = None
    """The score of the phrase; `score` is that of the box."""
    mask: Mask | None = None


@dataclass(frozen=True, slots=True)
class Annotations:
    """All annotations of one sample, or those that one stage adds or revises.

    An addition has an empty `id`. A revision has the `id` of the annotation that it replaces.
    """

    texts: list[Text] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    text_regions: list[TextRegion] = field(default_factory=list)
    triplets: list[Triplet] = field(default_factory=list)

    def all(self) -> Iterator[Annotation]:
        """The annotations of all kinds."""
        for kind in KINDS:
            yield from getattr(self, kind)

    def overlaid(self, later: Annotations) -> Annotations:
        """These annotations with the revisions and additions of `later`.

        A revision takes the place of what it revises. An addition comes directly after its first
        parent, or at the end; so words stay in reading order.
        """
        lists = [_overlay(getattr(self, kind), getattr(later, kind)) for kind in KINDS]
        return Annotations(*lists)

    def where(self, condition: Callable[[Annotation], bool]) -> Annotations:
        """The annotations that fulfil a condition."""
        result = Annotations()
        for kind in KINDS:
            getattr(result, kind).extend(filter(condition, getattr(self, kind)))
        return result

    def kept(self) -> Annotations:
        """The annotations that are not dropped."""
        lists = []
        for kind in KINDS:
            lists.append([item for item in getattr(self, kind) if item.dropped is None])
        return Annotations(*lists)

    def unjudged(self) -> Annotations:
        """These annotations without `support`: that was the opinion of an earlier round's model."""
        result = Annotations()
        for kind in KINDS:
            for annotation in getattr(self, kind):
                if annotation.support is not None:
                    annotation = replace(annotation, support=None)
                getattr(result, kind).append(annotation)
        return result

    def __len__(self) -> int:
        return sum(len(getattr(self, kind)) for kind in KINDS)


KINDS: dict[str, type[Annotation]] = {
    "texts": Text,
    "regions": Region,
    "text_regions": TextRegion,
    "triplets": Triplet,
}


def _overlay(old: list[Any], new: list[Any]) -> list[Any]:
    """`old` with the revisions of `new` in place and the additions of `new` after their parents."""
    if not new:
        return list(old)
    revisions = {annotation.id: annotation for annotation in new}
    ids = {annotation.id for annotation in old}
    annotations = [revisions.get(annotation.id, annotation) for annotation in old]
    annotations += [annotation for annotation in new if annotation.id not in ids]
    if not any(annotation.parents for annotation in annotations):
        return annotations
    ids |= revisions.keys()
    roots: list[Any] = []
    children: dict[str, list[Any]] = {}
    for annotation in annotations:
        parent = annotation.parents[0] if annotation.parents else ""
        if parent and parent in ids:
            children.setdefault(parent, []).append(annotation)
        else:
            roots.append(annotation)
    if not children:
        return roots
    return list(_with_descendants(roots, children))


def _with_descendants(
    annotations: Sequence[Any], children: Mapping[str, Sequence[Any]]
) -> Iterator[Any]:
    """Some annotations, each followed by its own descendants."""
    for annotation in annotations:
        yield annotation
        if annotation.id:
            yield from _with_descendants(children.get(annotation.id, ()), children)
