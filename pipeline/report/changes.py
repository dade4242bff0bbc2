"""What one round made of another's labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.schema import Annotation, Annotations, Region, Text, TextRegion, Triplet


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`annotation` as it is now (as it was, when it is gone), `before` what it was when it changed."""

    what: Literal["added", "changed", "dropped"]
    annotation: Annotation
    before: Annotation | None = None
    reason: str = ""


def changes(before: Annotations, after: Annotations) -> list[Change]:
    """Differences of the kept annotations.

    An annotation continues the earlier one with its id or, failing that, a parent that is gone. It changed
    when it says something else.
    """
    old = {a.id: a for a in before.kept().all()}
    new = {a.id: a for a in after.kept().all()}
    fate = {a.id: a.dropped or "" for a in after.all()}
    found, continued = [], set(old) & set(new)
    for id_, annotation in new.items():
        parents = [p for p in annotation.parents if p in old and p not in new and p not in continued]
        origin = id_ if id_ in old else next(iter(parents), None)
        if origin is None:
            found.append(Change(what="added", annotation=annotation))
            continue
        continued.add(origin)
        if content(old[origin]) != content(annotation):
            found.append(Change(what="changed", annotation=annotation, before=old[origin]))
    gone = [Change(what="dropped", annotation=a, reason=fate.get(i, "")) for i, a in old.items() if i not in continued]
    return found + gone


def content(annotation: Annotation) -> tuple[object, ...]:
    """What an annotation says, without who said it and how surely."""
    match annotation:
        case Text():
            return annotation.granularity, annotation.text
        case Region():
            return annotation.box, annotation.phrase, annotation.brief
        case TextRegion():
            return annotation.quad, annotation.text
        case Triplet():
            return annotation.text_id, annotation.phrase, annotation.start, annotation.end, annotation.box
    raise TypeError(f"not an annotation: {annotation!r}")
