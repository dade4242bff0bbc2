"""The records that flow between stages. No other file invents a field (pipeline/tables.py stores them).

Conventions: boxes are xyxy in absolute pixels of the stored (upright) image, x to the right and y down, edges
0..width and 0..height; quads are four points clockwise from the top left; masks are COCO run-length encodings.
One annotation is one text, one region, one text region, or one phrase-box pair of a text (the unit that the
paper's Table 2 counts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

SCHEMA_VERSION = 1

Box = tuple[float, float, float, float]
Quad = tuple[float, float, float, float, float, float, float, float]
Granularity = Literal["brief", "detailed", "more_detailed", "alt"]
HUMAN = "human"
CROWD = "crowd"  # why a human region of a whole crowd is dropped: nothing learns from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A COCO run-length encoding: `size` is (height, width), `counts` the compressed ASCII string of pycocotools."""

    size: tuple[int, int]
    counts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NounPhrase:
    """A noun phrase and its half-open character span in its text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parse:
    """What spaCy finds in a text (paper sections 4.2 and 5.2).

    The complexities are the largest undirected degree in the dependency tree over the objects (the actions) of
    the text, 0 when it has none; `_mean` fields are the means that Table 3 reports.
    """

    tokens: int
    objects: list[str]
    attributes: list[str]
    actions: list[str]
    proper_nouns: list[str]
    object_complexity: int
    action_complexity: int
    object_complexity_mean: float
    action_complexity_mean: float
    noun_phrases: list[NounPhrase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One possible brief text of a region: the category, the crop's caption, or a noun chunk of that caption."""

    text: str
    kind: Literal["phrase", "caption", "chunk"]
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What every annotation carries: where it came from, how sure its maker was, and its fate.

    The worker fills `id` (unique in its sample, `<round>.<source>.<index>`), `source` (the stage; `human` is
    locked), `model`, `revision` and `round`; a stage leaves them alone. `score` is the raw score of the source,
    `confidence` what the merge believes now (None until a merge has spoken), `support` the mean log-probability per
    token that the round's model gives to this label, `agreement` the share of an ensemble's members that say the same
    (None for a lone specialist). `dropped` is None or the snake_case reason; `parents` are ids.
    """

    id: str = ""
    source: str = ""
    model: str = ""
    revision: str = ""
    round: int = 0
    score: float | None = None
    confidence: float | None = None
    support: float | None = None
    agreement: float | None = None
    parents: list[str] = field(default_factory=list)
    dropped: str | None = None

    @property
    def locked(self) -> bool:
        """Human labels are never changed by a machine."""
        return self.source == HUMAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Annotation):
    granularity: Granularity
    text: str
    parse: Parse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Annotation):
    """A box; `phrase` is its category, `brief` the candidate chosen by image-text score (paper section 4.3)."""

    box: Box
    phrase: str
    brief: str | None = None
    brief_kind: Literal["phrase", "caption", "chunk"] | None = None
    candidates: list[Candidate] = field(default_factory=list)
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRegion(Annotation):
    quad: Quad
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet(Annotation):
    """A noun phrase of a text (half-open character span) tied to one box; `score` is the box's, `phrase_score` the
    phrase's."""

    text_id: str
    phrase: str
    start: int
    end: int
    box: Box
    phrase_score: float | None = None
    mask: Mask | None = None


@dataclass(frozen=True, slots=True)
class Annotations:
    """All annotations of one sample, or the ones that a stage adds (empty `id`) or revises (the `id` it was given)."""

    texts: list[Text] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    text_regions: list[TextRegion] = field(default_factory=list)
    triplets: list[Triplet] = field(default_factory=list)

    def all(self) -> Iterator[Annotation]:
        for kind in KINDS:
            yield from getattr(self, kind)

    def overlaid(self, later: Annotations) -> Annotations:
        """These annotations with the revisions of `later` in place and its additions behind; what names a parent stands
        right behind it, so that words stay in reading order."""
        return Annotations(*(_overlay(getattr(self, kind), getattr(later, kind)) for kind in KINDS))

    def where(self, condition: Callable[[Annotation], bool]) -> Annotations:
        return Annotations(*([a for a in getattr(self, kind) if condition(a)] for kind in KINDS))

    def kept(self) -> Annotations:
        return self.where(lambda a: a.dropped is None)

    def unjudged(self) -> Annotations:
        """Without `support`: what one round's model believed is no judgement in the next."""
        judged = (
            [replace(a, support=None) if a.support is not None else a for a in getattr(self, k)]
            for k in KINDS
        )
        return Annotations(*judged)

    def __len__(self) -> int:
        return sum(len(getattr(self, kind)) for kind in KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """What ingest did with one image of the source: a row of `images/<shard>.parquet`.

    `failed` is None or the reason why there is no image. `offset` and `size` locate `member` in the shard's tar.
    `sha256` is of the stored bytes, `source_sha256` of those that came; they differ only when `transform` names the
    EXIF orientation that was applied.
    """

    key: str
    name: str
    failed: str | None = None
    detail: str | None = None
    member: str | None = None
    offset: int | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    sha256: str | None = None
    source_sha256: str | None = None
    transform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a stage said of one sample: a row of a signals table. `failed` is None or the reason."""

    key: str
    failed: str | None = None
    detail: str | None = None
    annotations: Annotations = field(default_factory=Annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A stage that could not do this sample, so that its annotations are missing."""

    stage: str
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One sample of a round: `KEY.json` of its public shards and a row of its records table. Dropped annotations are
    in it, with their reasons."""

    schema_version: int = SCHEMA_VERSION
    key: str
    name: str
    width: int
    height: int
    sha256: str
    failures: list[Failure] = field(default_factory=list)
    annotations: Annotations = field(default_factory=Annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """Where a sample of a round lies, and how many kept annotations it has: a row of `index.parquet`.

    Offsets and sizes are bytes in `shards/<shard>.tar`, so a range request reads one sample.
    """

    key: str
    shard: str
    image_offset: int
    image_size: int
    json_offset: int
    json_size: int
    width: int
    height: int
    texts: int
    regions: int
    text_regions: int
    triplets: int


KINDS: dict[str, type[Annotation]] = {
    "texts": Text,
    "regions": Region,
    "text_regions": TextRegion,
    "triplets": Triplet,
}


def _overlay(old: list[Any], new: list[Any]) -> list[Any]:
    revised = {a.id: a for a in new}
    known = {a.id for a in old}
    every = [revised.get(a.id, a) for a in old] + [a for a in new if a.id not in known]
    known |= revised.keys()
    behind: dict[str, list[Any]] = {}
    for a in every:
        behind.setdefault(a.parents[0] if a.parents and a.parents[0] in known else "", []).append(a)
    return list(_with_descendants(behind, ""))


def _with_descendants(behind: Mapping[str, list[Any]], parent: str) -> Iterator[Any]:
    for a in behind.get(parent, ()):
        yield a
        if a.id:
            yield from _with_descendants(behind, a.id)
