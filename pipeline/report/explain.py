"""Everything that happened to one sample, as text for a terminal: `fld explain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from pipeline.refinement.changes import Change, changes
from pipeline.report.folding import Folding, LabelLine
from pipeline.rows import ImageRow, Row
from pipeline.schema import (
    KINDS,
    Annotation,
    Annotations,
    Mask,
    Parse,
    Region,
    Text,
    TextRegion,
    Triplet,
)
from pipeline.storage import layout
from pipeline.storage.arrow import to_dict

if TYPE_CHECKING:
    from pipeline.report.history import SampleHistory, SampleInRound

# Fields of the image's row that have a line of their own.
_OWN_LINES = (
    "key",
    "failed",
    "detail",
    "member",
    "offset",
    "size",
)
_LONGEST_VALUE = 60
"""Letters of a value that are shown."""


def explain(sample: SampleHistory, whole: bool = False) -> str:
    """What came in, what stages saw and decided, and what rounds changed, in this order.

    In each section the labels come first that the newest round keeps. Many labels that were dropped
    for one reason are counted. With `whole`, every label has a line, in the order of the records.
    """
    folding = Folding(_fates(sample), whole)
    sections = []
    for attempt in sample.tries:
        failure = _failure(attempt.row.failed, attempt.row.detail)
        sections.append(_section(f"try in {attempt.shard}", [failure]))
    image_lines = _image_lines(sample.image, sample.shard)
    sections.append(_section(sample.image.key, image_lines))
    if sample.given:
        lines = folding.lines(_additions(sample.given))
        sections.append(_section("given by the source", lines))
    if sample.truth:
        lines = Folding(whole=True).lines(_additions(sample.truth))
        sections.append(_section("truth", lines))
    sections += _stage_sections(sample, folding)
    before = None
    for in_round in sample.rounds:
        sections.append(_round_section(in_round, before, folding))
        before = in_round.annotations
    return "\n\n".join(sections)


def _fates(sample: SampleHistory) -> dict[str, str]:
    """By the id of a label, why the newest round has dropped it."""
    fates = {}
    for in_round in sample.rounds[-1:]:
        for label in in_round.annotations.all():
            if label.dropped:
                fates[label.id] = label.dropped
    return fates


def _stage_sections(sample: SampleHistory, folding: Folding) -> list[str]:
    """A section for each stage, in the order in which they ran."""
    sections = []
    annotations = sample.given
    for stage in sample.stages:
        title = f"{stage.stage}  {stage.folder}"
        lines = _stage_lines(stage.row, annotations, folding)
        sections.append(_section(title, lines))
        # The next stage reads what this one has revised.
        annotations = annotations.overlaid(stage.row.annotations)
    return sections


def describe(annotation: Annotation) -> str:
    """One line about an annotation.

    What it says and where it lies, its scores, where it came from, and whether it is dropped.
    """
    parts = [annotation.id, _content(annotation)]
    scores = {
        "score": annotation.score,
        "confidence": annotation.confidence,
        "support": annotation.support,
    }
    for name, value in scores.items():
        if value is not None:
            parts.append(f"{name} {value:.3f}")
    origin = f"{annotation.source} {annotation.model}".strip()
    if origin:
        parts.append(f"({origin})")
    if annotation.parents:
        parents = ", ".join(annotation.parents)
        parts.append(f"from {parents}")
    if annotation.dropped:
        parts.append(f"DROPPED {annotation.dropped}")
    return "  ".join(parts).strip()


def describe_change(change: Change) -> str:
    """One line about a change: what was there before, what it became, and why it was dropped."""
    noun = _noun(change.annotation)
    line = f"{noun} "
    if change.before:
        old_content = _content(change.before)
        line += f"{old_content} -> "
    description = describe(change.annotation)
    line += f"{description}  "
    if change.reason:
        line += f"DROPPED {change.reason}"
    return line.strip()


def _section(title: str, lines: Sequence[str]) -> str:
    """A title and lines below it, further right."""
    if not lines:
        lines = ["nothing"]
    section = [title]
    for line in lines:
        section.append(f"  {line}")
    return "\n".join(section)


def _image_lines(image: ImageRow, shard: str) -> list[str]:
    """How the image came in, or why it did not.

    Fields without a value are left out.
    """
    lines = [f"shard: {shard}"]
    for name, value in to_dict(image).items():
        if name in _OWN_LINES or value in (None, ""):
            continue
        lines.append(f"{name}: {value}")
    if image.failed:
        failure = _failure(image.failed, image.detail)
        lines.append(failure)
        return lines
    place = f"{image.size} bytes from {image.offset}"
    lines.append(f"lies in: {image.member} of {layout.images_tar(shard)}, {place}")
    return lines


def _failure(reason: str | None, detail: str | None) -> str:
    """Why a stage could not do the sample."""
    if not detail:
        return f"FAILED {reason}"
    return f"FAILED {reason}: {detail}"


def _additions(annotations: Annotations) -> list[LabelLine]:
    """A full line for each annotation."""
    return [_addition(annotation) for annotation in annotations.all()]


def _addition(annotation: Annotation) -> LabelLine:
    return _line(annotation, f"{_noun(annotation)} {describe(annotation)}")


def _line(annotation: Annotation, text: str) -> LabelLine:
    return LabelLine(text=text, noun=_noun(annotation), label=annotation)


def _stage_lines(row: Row, before: Annotations, folding: Folding) -> list[str]:
    """Additions of a stage in full; of its revisions, what they change."""
    if row.failed:
        return [_failure(row.failed, row.detail)]
    old = {annotation.id: annotation for annotation in before.all()}
    lines = []
    for annotation in row.annotations.all():
        if annotation.id in old:
            lines.append(_line(annotation, _revision(old[annotation.id], annotation)))
        else:
            lines.append(_addition(annotation))
    return folding.lines(lines)


def _revision(old: Annotation, new: Annotation) -> str:
    """One line about what a stage changed of an annotation."""
    head = f"{_noun(new)} {new.id}"
    if new.dropped and not old.dropped:
        return f"{head}  {_content(new)}  DROPPED {new.dropped}"
    differences = []
    for field in fields(old):
        before = getattr(old, field.name)
        after = getattr(new, field.name)
        if before == after:
            continue
        difference = f"{field.name} {_short(before)} -> {_short(after)}"
        differences.append(difference)
    if not differences:
        return f"{head}  as it was"
    summary = "; ".join(differences)
    return f"{head}  {summary}"


def _round_section(in_round: SampleInRound, before: Annotations | None, folding: Folding) -> str:
    """A round: failures, and what it changed of the round before (of the first round, all)."""
    title = f"round {in_round.round}"
    if in_round.status:
        title += f"  {in_round.status}"
    lines = []
    for failure in in_round.failures:
        reason = f"{failure.stage}: {failure.reason}"
        line = _failure(reason, failure.detail)
        lines.append(line)
    if before is None:
        lines += folding.lines(_additions(in_round.annotations))
        return _section(title, lines)
    kept = len(in_round.annotations.kept())
    after = {annotation.id: annotation for annotation in in_round.annotations.all()}
    changed = []
    for change in changes(before, in_round.annotations):
        description = describe_change(change)
        # A dropped label is described as it was; as it is now, it has the reason.
        label = after.get(change.annotation.id, change.annotation)
        changed.append(_line(label, f"{change.what} {description}"))
        if change.what != "dropped":
            # Added and changed annotations are kept ones, but not as they were.
            kept -= 1
    lines += folding.lines(changed)
    lines.append(f"{kept} kept as they were")
    return _section(title, lines)


def _short(value: object) -> str:
    """A value in few letters."""
    match value:
        case float():
            return f"{value:.3f}"
        case list():
            return f"{len(value)} items"
        case Mask():
            return "a mask"
        case Parse():
            return "a parse"
        case tuple():
            return _numbers(value)
    text = str(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    return text[: _LONGEST_VALUE - 3] + "..."


def _noun(annotation: Annotation) -> str:
    """The kind of an annotation in the singular."""
    for kind, cls in KINDS.items():
        if isinstance(annotation, cls):
            words = kind.replace("_", " ")
            return words.removesuffix("s")
    raise TypeError(f"not an annotation: {annotation!r}")


def _content(annotation: Annotation) -> str:
    """What an annotation says, and where it lies."""
    match annotation:
        case Text():
            return f'{annotation.granularity} "{annotation.text}"'
        case Region():
            words = annotation.phrase
            if annotation.brief is not None:
                words += f' "{annotation.brief}"'
            place = _numbers(annotation.box)
            return f"{words} at {place}"
        case TextRegion():
            place = _numbers(annotation.quad)
            return f'"{annotation.text}" at {place}'
        case Triplet():
            span = f"[{annotation.start}:{annotation.end}]"
            place = _numbers(annotation.box)
            return f'"{annotation.phrase}" {span} at {place}'
    raise TypeError(f"not an annotation: {annotation!r}")


def _numbers(values: Sequence[float]) -> str:
    """Coordinates in whole pixels."""
    return " ".join(f"{value:.0f}" for value in values)
