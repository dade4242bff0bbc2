"""What a release was checked for, and what not: part of `release.json`, and told by the card.

The counts of blurred regions and of flagged texts are counted again by `fld release verify`. The
scores of images are not in a release, so their counts are facts, like those of the duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.release.personal import EMAIL, PERSONAL_DATA, PHONE
from pipeline.release.statistics import Totals
from pipeline.release.tables import BLURRED, SAMPLE
from pipeline.schema import FINDING

EXCLUDED, NOT_SCORED = "excluded_by_score", "not_scored"
"""Why a sample is not released."""
# What nothing here looks for. What a stage may look for is told where no stage did.
NEVER_CHECKED = (
    "violence, hate symbols, the age of persons, names and postal addresses, handwriting and signs "
    "that no OCR read, trademarks and works of art"
)
FACE, NUDITY = "face", "nudity"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFact:
    """A list of what must not be in a release."""

    name: str
    """The last part of its path."""
    sha256: str
    """Of the list."""
    entries: int


class Maker(NamedTuple):
    """What has made notes."""

    name: str
    kind: str
    model: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a stage said of images for review: a score of the whole image, or findings."""

    name: str
    """Such as nudity or face."""
    kind: str
    """`pipeline.schema.IMAGE_SCORE` or `FINDING`."""
    model: str
    revision: str
    images: int
    """Images of the round that it is about."""
    regions: int
    highest: float | None
    """The highest score, None if it gives none."""

    @property
    def maker(self) -> Maker:
        """What must be the same for two notes to be added up."""
        return Maker(
            self.name,
            self.kind,
            self.model,
            self.revision,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """What was checked, and with what."""

    lists: list[ListFact] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    exclude: dict[str, float] = field(default_factory=dict)
    blur: dict[str, float] = field(default_factory=dict)
    personal_data: str = "ignore"
    """`flag`, `remove` or `ignore`."""
    phone_regions: list[str] = field(default_factory=list)


def merged(first: Note, second: Note) -> Note:
    """Two notes of one maker as one."""
    scores = [note.highest for note in (first, second) if note.highest is not None]
    return Note(
        name=first.name,
        kind=first.kind,
        model=first.model,
        revision=first.revision,
        images=first.images + second.images,
        regions=first.regions + second.regions,
        highest=max(scores, default=None),
    )


def checked(safety: Safety, totals: Totals) -> Iterator[str]:
    """A line for each check that was made, with its numbers."""
    for each in safety.lists:
        yield (
            f"Lists of what must not be released: `{each.name}`, {each.entries:,} entries (sha256 "
            f"`{each.sha256}`), compared by key, name, sha256 and perceptual hash."
        )
    for note in safety.notes:
        yield _note_line(note, safety)
    if safety.exclude:
        gone = totals["removed"].get(SAMPLE, {})
        yield (
            f"Left out by their scores: {gone.get(EXCLUDED, 0):,} images (`{EXCLUDED}`), and "
            f"{gone.get(NOT_SCORED, 0):,} that have no score (`{NOT_SCORED}`)."
        )
    counts = totals["flags"].get(BLURRED, {})
    for category, least in safety.blur.items():
        yield (
            f"Blurred: {counts.get(category, 0):,} regions of `{category}` with a score of at "
            f"least {least:g} or without one. The pixels of these images are changed (`transform` "
            "of the record has `blurred`, the table `flags` each box)."
        )
    if safety.personal_data != "ignore":
        yield _personal_line(safety, totals)


def unchecked(safety: Safety) -> str:
    """What nobody and nothing has looked for."""
    names = {note.name for note in safety.notes}
    missing = []
    if not safety.lists:
        missing.append("lists of known images")
    if NUDITY not in names:
        missing.append("nudity")
    if FACE not in names:
        missing.append("faces")
    if safety.personal_data == "ignore":
        missing.append("personal data in texts")
    return f"Not checked: {', '.join([*missing, NEVER_CHECKED])}."


def _note_line(note: Note, safety: Safety) -> str:
    """What a stage was asked, what it said, and what followed."""
    with_what = f"`{note.model}`"
    if note.revision:
        with_what += f" (revision `{note.revision}`)"
    if note.kind == FINDING:
        return (
            f"`{note.name}` by {with_what}: {note.regions:,} found in {note.images:,} images of "
            "the round. Detectors miss some."
        )
    highest = "" if note.highest is None else f", the highest {note.highest:.4f}"
    limit = safety.exclude.get(note.name)
    followed = "No image is left out for it"
    if limit is not None:
        followed = f"Images with {limit:g} or more are left out"
    return (
        f"`{note.name}` by {with_what}: {note.images:,} images of the round scored{highest}. "
        f"{followed}. A score is a flag for review, not a verdict."
    )


def _personal_line(safety: Safety, totals: Totals) -> str:
    """How many texts have personal data, and what became of them."""
    regions = ", ".join(safety.phone_regions) or "no region"
    text = (
        "Personal data in texts, strings in images and texts of regions: e-mail addresses, and "
        f"telephone numbers with a country code or of {regions} (libphonenumber). "
    )
    if safety.personal_data == "remove":
        gone = 0
        for type_, reasons in totals["removed"].items():
            if type_ != SAMPLE:
                gone += reasons.get(PERSONAL_DATA, 0)
        return f"{text}{gone:,} annotations with some are left out (`{PERSONAL_DATA}`)."
    emails = sum(totals["flags"].get(EMAIL, {}).values())
    phones = sum(totals["flags"].get(PHONE, {}).values())
    return (
        f"{text}{emails:,} annotations with an e-mail address and {phones:,} with a telephone "
        "number are flagged in the table `flags`, and are released."
    )


def never_blurred(blur: Mapping[str, float], totals: Totals) -> Iterator[str]:
    """A warning for each category of `blur` of which there was no region."""
    counts = totals["flags"].get(BLURRED, {})
    for category in blur:
        if not counts.get(category):
            yield (
                f"blur.{category}: nothing is blurred: the released images have no region of this "
                "category with such a score; check its name, and that a stage finds it"
            )
