"""The story of one sample for a terminal: what came in, what stages saw and decided, what rounds changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.refinement.changes import Change, changes
from pipeline.schema import (
    KINDS,
    Annotation,
    Annotations,
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
    from pipeline.report.history import SampleHistory

SPOKEN = ("key", "failed", "detail", "member", "offset", "size")  # told in lines of their own


def explain(story: SampleHistory) -> str:
    """Everything that happened to a sample, in the order in which it happened."""
    image = story.image
    parts = [
        _section(f"try in {one.shard}", _failed(one.row.failed, one.row.detail))
        for one in story.tries
    ]
    parts.append(_section(image.key, [f"shard: {story.shard}", *_image_lines(story)]))
    for title, known in (("given by the source", story.given), ("truth", story.truth)):
        if known:
            parts.append(_section(title, [f"{_noun(a)} {describe(a)}" for a in known.all()]))
    known = story.given
    for told in story.stages:
        parts.append(_section(f"{told.stage}  {told.folder}", _stage_lines(told.row, known)))
        known = known.overlaid(told.row.annotations)
    before = None
    for chapter in story.rounds:
        lines = [
            line for f in chapter.failures for line in _failed(f"{f.stage}: {f.reason}", f.detail)
        ]
        title = f"round {chapter.round}" + (f"  {chapter.status}" if chapter.status else "")
        parts.append(_section(title, lines + _round_lines(before, chapter.annotations)))
        before = chapter.annotations
    return "\n\n".join(parts)


def describe(annotation: Annotation) -> str:
    """One line: what it says, where it lies, how sure its maker was, where it came from, and its fate."""
    said = _content(annotation)
    numbers = [
        f"{name} {value:.3f}"
        for name in ("score", "confidence", "support")
        if (value := getattr(annotation, name)) is not None
    ]
    origin = f"{annotation.source} {annotation.model}".strip()
    parents = [f"from {', '.join(annotation.parents)}"] if annotation.parents else []
    fate = [f"DROPPED {annotation.dropped}"] if annotation.dropped else []
    return "  ".join(
        [annotation.id, said, *numbers, *([f"({origin})"] if origin else []), *parents, *fate]
    ).strip()


def told(change: Change) -> str:
    """One line: what was added, what became of what, what was dropped and why."""
    origin = f"{_content(change.before)} -> " if change.before else ""
    fate = f"DROPPED {change.reason}" if change.reason else ""
    return f"{_noun(change.annotation)} {origin}{describe(change.annotation)}  {fate}".strip()


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines or ["nothing"])])


def _image_lines(story: SampleHistory) -> list[str]:
    image = to_dict(story.image)
    told = [
        f"{name}: {value}"
        for name, value in image.items()
        if name not in SPOKEN and value not in (None, "")
    ]
    if story.image.failed:
        return told + _failed(story.image.failed, story.image.detail)
    place = f"{story.image.member} of images/{story.shard}.tar, {story.image.size} bytes from {story.image.offset}"
    return [*told, f"lies in: {place}"]


def _failed(reason: str | None, detail: str | None) -> list[str]:
    return [f"FAILED {reason}" + (f": {detail}" if detail else "")]


def _stage_lines(row: Row, known: Annotations) -> list[str]:
    """Additions in full; of a revision, what it changed."""
    if row.failed:
        return _failed(row.failed, row.detail)
    before = {a.id: a for a in known.all()}
    return [
        _revision(before[a.id], a) if a.id in before else f"{_noun(a)} {describe(a)}"
        for a in row.annotations.all()
    ]


def _revision(old: Annotation, new: Annotation) -> str:
    if new.dropped and not old.dropped:
        return f"{_noun(new)} {new.id}  {_content(new)}  DROPPED {new.dropped}"
    named = [
        f"{name} {_short(getattr(old, name))} -> {_short(getattr(new, name))}"
        for name in _differing(old, new)
    ]
    return f"{_noun(new)} {new.id}  " + ("; ".join(named) or "as it was")


def _round_lines(before: Annotations | None, now: Annotations) -> list[str]:
    if before is None:
        return [f"{_noun(a)} {describe(a)}" for a in now.all()]
    found = changes(before, now)
    same = len(now.kept()) - sum(change.what != "dropped" for change in found)
    return [*(f"{change.what} {told(change)}" for change in found), f"{same} kept as they were"]


def _differing(old: Annotation, new: Annotation) -> list[str]:
    return [
        name for name in type(old).__dataclass_fields__ if getattr(old, name) != getattr(new, name)
    ]


def _short(value: Any) -> str:
    match value:
        case float():
            return f"{value:.3f}"
        case list():
            return f"{len(value)} items"
        case Mask() | Parse():
            return f"a {type(value).__name__.lower()}"
        case tuple():
            return _numbers(value)
    return str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}..."


def _noun(annotation: Annotation) -> str:
    kind = next(kind for kind, cls in KINDS.items() if isinstance(annotation, cls))
    return kind.replace("_", " ").removesuffix("s")


def _content(annotation: Annotation) -> str:
    match annotation:
        case Text():
            return f'{annotation.granularity} "{annotation.text}"'
        case Region():
            brief = f' "{annotation.brief}"' if annotation.brief is not None else ""
            return f"{annotation.phrase}{brief} at {_numbers(annotation.box)}"
        case TextRegion():
            return f'"{annotation.text}" at {_numbers(annotation.quad)}'
        case Triplet():
            return f'"{annotation.phrase}" [{annotation.start}:{annotation.end}] at {_numbers(annotation.box)}'
    raise TypeError(f"not an annotation: {annotation!r}")


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.0f}" for value in values)
