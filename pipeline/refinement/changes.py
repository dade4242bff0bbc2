"""What one round changed in the labels of the round before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.refinement.decisions import RELABELLED
from pipeline.schema import KINDS, Annotation, Annotations, Region, Text, TextRegion, Triplet
from stages.links import RESHAPED

KEPT = "kept"
CONFIRMED = "confirmed"
ADDED = "added"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A difference between two rounds in one annotation."""

    what: Literal["added", "changed", "dropped"]
    """What happened to the annotation."""

    annotation: Annotation
    """The annotation after the round; the one before it if it was dropped."""

    before: Annotation | None = None
    """The annotation before the round, if it was changed."""

    reason: str = ""
    """Why it was dropped: the snake_case reason of `Annotation.dropped`."""

    @property
    def rule(self) -> str:
        """What `tally` counts: added, relabelled, reshaped (the same words at another place), or
        the reason why it was dropped."""
        if self.what == "dropped":
            return self.reason
        if self.before is None:
            return ADDED
        if words(self.before) == words(self.annotation):
            return RESHAPED
        return RELABELLED


def changes(before: Annotations, after: Annotations) -> list[Change]:
    """The differences between the kept annotations of two rounds.

    An annotation continues the earlier one with the same id. If there is none, it continues its
    nearest ancestor of the same class that is no longer kept. It has changed if its content is not
    the same.
    """
    old = _by_id(before.kept())
    new = _by_id(after.kept())
    everything = _by_id(after)
    differences = []
    continued = set(old) & set(new)
    for annotation in new.values():
        origin = old.get(annotation.id)
        if origin is None:
            origin = _origin(annotation, old, everything, continued)
        if origin is None:
            differences.append(Change(what="added", annotation=annotation))
            continue
        continued.add(origin.id)
        if content(origin) != content(annotation):
            differences.append(Change(what="changed", annotation=annotation, before=origin))
    for annotation in old.values():
        if annotation.id not in continued:
            reason = _drop_reason(everything.get(annotation.id))
            differences.append(Change(what="dropped", annotation=annotation, reason=reason))
    return differences


def tally(before: Annotations, after: Annotations) -> dict[str, Counter[str]]:
    """How many annotations met which fate, by kind.

    The fates are kept, confirmed (kept with another confidence), added, relabelled, reshaped, and
    the reasons for which annotations were dropped.
    """
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    changed = set()
    for change in changes(before, after):
        counts[_kind(change.annotation)][change.rule] += 1
        changed.add(change.annotation.id)
    old = _by_id(before.kept())
    for annotation in after.kept().all():
        if annotation.id in changed:
            continue
        same = annotation.confidence == old[annotation.id].confidence
        fate = KEPT if same else CONFIRMED
        counts[_kind(annotation)][fate] += 1
    return counts


def changed_labels(fates: Mapping[str, Counter[str]]) -> int:
    """How many annotations are not what they were, of what `tally` counted: as many as `changes`
    lists."""
    changed = 0
    for counts in fates.values():
        changed += counts.total() - counts[KEPT] - counts[CONFIRMED]
    return changed


def content(annotation: Annotation) -> tuple[object, ...]:
    """The words and the place of an annotation, without its origin and its scores."""
    match annotation:
        case Region() | Triplet():
            return (*words(annotation), annotation.box)
        case TextRegion():
            return (*words(annotation), annotation.quad)
    return words(annotation)


def words(annotation: Annotation) -> tuple[object, ...]:
    """What an annotation says, without its place."""
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


def _by_id(annotations: Annotations) -> dict[str, Annotation]:
    return {annotation.id: annotation for annotation in annotations.all()}


def _drop_reason(annotation: Annotation | None) -> str:
    if annotation is None or annotation.dropped is None:
        return ""
    return annotation.dropped


def _kind(annotation: Annotation) -> str:
    for kind, annotation_class in KINDS.items():
        if type(annotation) is annotation_class:
            return kind
    raise TypeError(f"not an annotation: {annotation!r}")


def _origin(
    annotation: Annotation,
    old: Mapping[str, Annotation],
    everything: Mapping[str, Annotation],
    continued: set[str],
) -> Annotation | None:
    """The nearest ancestor among the old annotations that nothing else continues."""
    for id_ in _ancestors(annotation, everything):
        ancestor = old.get(id_)
        if ancestor is None or id_ in continued:
            continue
        if type(ancestor) is type(annotation):
            return ancestor
    return None


def _ancestors(annotation: Annotation, everything: Mapping[str, Annotation]) -> Iterator[str]:
    """The ids of parents, their parents, and so on: the nearest first, each once."""
    queue = list(annotation.parents)
    seen: set[str] = set()
    while queue:
        parent = queue.pop(0)
        if parent not in seen:
            seen.add(parent)
            yield parent
            if parent in everything:
                queue += everything[parent].parents
