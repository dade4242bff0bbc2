"""Everything that happened to one sample, as text for a terminal: `fld explain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pipeline.refinement.changes import Change, changes
from pipeline.schema import (
    KINDS,
    Annotation,
    Annotations,
    ImageRow,
    Mask,
    Parse,
    Region,
    Row,
    Text,
    TextRegion,
    Triplet,
)
from pipeline.storage.arrow import to_dict

if TYPE_CHECKING:
    from pipeline.report.history import SampleHistory, SampleInRound

# Fields of the image's row that have a line of their own.
_OWN_LINES = ("key", "failed", "detail", "member", "offset", "size")
_LONGEST_VALUE = 60  # letters of a value that are shown


def explain(sample: SampleHistory) -> str:
    """What came in, what stages saw and decided, and what rounds changed, in this order."""
    parts = []
    for attempt in sample.tries:
        failure = _failure(attempt.row.failed, attempt.row.detail)
        parts.append(_section(f"try in {attempt.shard}", [failure]))
    parts.append(_section(sample.image.key, _image_lines(sample.image, sample.shard)))
    if sample.given:
        parts.append(_section("given by the source", _additions(sample.given)))
    if sample.truth:
        parts.append(_section("truth", _additions(sample.truth)))
    annotations = sample.given
    for stage in sample.stages:
        title = f"{stage.stage}  {stage.folder}"
        parts.append(_section(title, _stage_lines(stage.row, annotations)))
        annotations = annotations.overlaid(stage.row.annotations)
    before = None
    for in_round in sample.rounds:
        parts.append(_round_section(in_round, before))
        before = in_round.annotations
    return "\n\n".join(parts)


def describe(annotation: Annotation) -> str:
    """One line about an annotation.

    What it says and where it lies, its scores, where it came from, and whether it is dropped.
    """
    parts = [annotation.id, _content(annotation)]
    for name in ("score", "confidence", "support"):
        value = getattr(annotation, name)
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
    line = f"{_noun(change.annotation)} "
    if change.before:
        line += f"{_content(change.before)} -> "
    line += f"{describe(change.annotation)}  "
    if change.reason:
        line += f"DROPPED {change.reason}"
    return line.strip()


def _section(title: str, lines: Sequence[str]) -> str:
    """A title and lines below it, further right."""
    section = [title]
    for line in lines or ["nothing"]:
        section.append(f"  {line}")
    return "\n".join(section)


def _image_lines(image: ImageRow, shard: str) -> list[str]:
    """How the image came in, or why it did not."""
    lines = [f"shard: {shard}"]
    for name, value in to_dict(image).items():
        if name not in _OWN_LINES and value not in (None, ""):
            lines.append(f"{name}: {value}")
    if image.failed:
        lines.append(_failure(image.failed, image.detail))
    else:
        place = f"{image.member} of images/{shard}.tar"
        lines.append(f"lies in: {place}, {image.size} bytes from {image.offset}")
    return lines


def _failure(reason: str | None, detail: str | None) -> str:
    return f"FAILED {reason}: {detail}" if detail else f"FAILED {reason}"


def _additions(annotations: Annotations) -> list[str]:
    """A full line for each annotation."""
    return [f"{_noun(annotation)} {describe(annotation)}" for annotation in annotations.all()]


def _stage_lines(row: Row, before: Annotations) -> list[str]:
    """Additions of a stage in full; of its revisions, what they change."""
    if row.failed:
        return [_failure(row.failed, row.detail)]
    old = {annotation.id: annotation for annotation in before.all()}
    lines = []
    for annotation in row.annotations.all():
        if annotation.id in old:
            lines.append(_revision(old[annotation.id], annotation))
        else:
            lines.append(f"{_noun(annotation)} {describe(annotation)}")
    return lines


def _revision(old: Annotation, new: Annotation) -> str:
    """One line about what a stage changed of an annotation."""
    head = f"{_noun(new)} {new.id}"
    if new.dropped and not old.dropped:
        return f"{head}  {_content(new)}  DROPPED {new.dropped}"
    differences = []
    for field in fields(old):
        before = getattr(old, field.name)
        after = getattr(new, field.name)
        if before != after:
            differences.append(f"{field.name} {_short(before)} -> {_short(after)}")
    summary = "; ".join(differences) or "as it was"
    return f"{head}  {summary}"


def _round_section(in_round: SampleInRound, before: Annotations | None) -> str:
    """A round: failures, and what it changed of the round before (of the first round, all)."""
    title = f"round {in_round.round}"
    if in_round.status:
        title += f"  {in_round.status}"
    lines = []
    for failure in in_round.failures:
        reason = f"{failure.stage}: {failure.reason}"
        lines.append(_failure(reason, failure.detail))
    if before is None:
        lines += _additions(in_round.annotations)
        return _section(title, lines)
    kept = len(in_round.annotations.kept())
    for change in changes(before, in_round.annotations):
        lines.append(f"{change.what} {describe_change(change)}")
        if change.what != "dropped":
            kept -= 1
    lines.append(f"{kept} kept as they were")
    return _section(title, lines)


def _short(value: Any) -> str:
    """A value in few letters."""
    match value:
        case float():
            return f"{value:.3f}"
        case list():
            return f"{len(value)} items"
        case Mask() | Parse():
            return f"a {type(value).__name__.lower()}"
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
            return kind.replace("_", " ").removesuffix("s")
    raise TypeError(f"not an annotation: {annotation!r}")


def _content(annotation: Annotation) -> str:
    """What an annotation says, and where it lies."""
    match annotation:
        case Text():
            return f'{annotation.granularity} "{annotation.text}"'
        case Region():
            brief = f' "{annotation.brief}"' if annotation.brief is not None else ""
            return f"{annotation.phrase}{brief} at {_numbers(annotation.box)}"
        case TextRegion():
            return f'"{annotation.text}" at {_numbers(annotation.quad)}'
        case Triplet():
            span = f"[{annotation.start}:{annotation.end}]"
            return f'"{annotation.phrase}" {span} at {_numbers(annotation.box)}'
    raise TypeError(f"not an annotation: {annotation!r}")


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.0f}" for value in values)
