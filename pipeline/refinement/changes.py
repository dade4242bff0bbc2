"""What one round made of another's labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.schema import KINDS, Annotation, Annotations, Region, Text, TextRegion, Triplet

KEPT, CONFIRMED, ADDED, RELABELLED, RESHAPED = (
    "kept",
    "confirmed",
    "added",
    "relabelled",
    "reshaped",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`annotation` as it is now (as it was, when it is gone), `before` what it was when it changed."""

    what: Literal["added", "changed", "dropped"]
    annotation: Annotation
    before: Annotation | None = None
    reason: str = ""

    @property
    def rule(self) -> str:
        """Added, relabelled, reshaped (it says the same elsewhere), or the reason why it was dropped."""
        if self.before is None:
            return self.reason if self.what == "dropped" else ADDED
        return RESHAPED if said(self.before) == said(self.annotation) else RELABELLED


def changes(before: Annotations, after: Annotations) -> list[Change]:
    """Differences of the kept annotations.

    An annotation continues the earlier one with its id or, failing that, an ancestor that is gone. It changed
    when it says something else.
    """
    old = {a.id: a for a in before.kept().all()}
    new = {a.id: a for a in after.kept().all()}
    fate = {a.id: a.dropped or "" for a in after.all()}
    known = {a.id: a for a in after.all()}
    found, continued = [], set(old) & set(new)
    for id_, annotation in new.items():
        gone = [
            p
            for p in _ancestors(annotation, known)
            if p in old and p not in new and p not in continued
        ]
        parents = [p for p in gone if type(old[p]) is type(annotation)]
        origin = id_ if id_ in old else next(iter(parents), None)
        if origin is None:
            found.append(Change(what="added", annotation=annotation))
            continue
        continued.add(origin)
        if content(old[origin]) != content(annotation):
            found.append(Change(what="changed", annotation=annotation, before=old[origin]))
    lost = [
        Change(what="dropped", annotation=a, reason=fate.get(i, ""))
        for i, a in old.items()
        if i not in continued
    ]
    return found + lost


def tally(before: Annotations, after: Annotations) -> dict[str, Counter[str]]:
    """Per kind, how many of the annotations of either side were kept, confirmed (kept, and surer now), added,
    relabelled, reshaped, or dropped, by reason."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    kinds = {cls: kind for kind, cls in KINDS.items()}
    changed = set()
    for change in changes(before, after):
        counts[kinds[type(change.annotation)]][change.rule] += 1
        changed.add(change.annotation.id)
    old = {a.id: a for a in before.kept().all()}
    for annotation in after.kept().all():
        if annotation.id not in changed:
            confirmed = annotation.confidence != old[annotation.id].confidence
            counts[kinds[type(annotation)]][CONFIRMED if confirmed else KEPT] += 1
    return counts


def content(annotation: Annotation) -> tuple[object, ...]:
    """What an annotation says, without who said it and how surely."""
    match annotation:
        case Region() | Triplet():
            return (*said(annotation), annotation.box)
        case TextRegion():
            return (*said(annotation), annotation.quad)
    return said(annotation)


def said(annotation: Annotation) -> tuple[object, ...]:
    """Its words, wherever they are said of."""
    match annotation:
        case Text():
            return annotation.granularity, annotation.text
        case Region():
            return annotation.phrase, annotation.brief
        case TextRegion():
            return (annotation.text,)
        case Triplet():
            return annotation.text_id, annotation.phrase, annotation.start, annotation.end
    raise TypeError(f"not an annotation: {annotation!r}")


def _ancestors(annotation: Annotation, known: Mapping[str, Annotation]) -> Iterator[str]:
    """Parents, their parents, and so on, the nearest first, each once."""
    todo, seen = list(annotation.parents), set[str]()
    while todo:
        parent = todo.pop(0)
        if parent not in seen:
            seen.add(parent)
            yield parent
            todo += known[parent].parents if parent in known else []
