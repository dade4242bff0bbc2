"""What the merge decides on labels, and the revisions of annotations that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.refinement.matching import MATCHING, AnyKind, mean_place, same_label
from pipeline.refinement.rules import MergeConfig, Rules, Thresholds, effective_thresholds
from pipeline.schema import Annotation, Annotations
from stages.links import AGREES, TEXT_DROPPED

LESS_LIKELY = "less_likely"
RELABELLED = "relabelled"
NOT_SUPPORTED = "not_supported"
NOT_CONFIDENT = "not_confident"
NOT_REPEATED = "not_repeated"
NOT_TRUSTED = "not_trusted"
DUPLICATE = "duplicate"

Fate = Literal["kept", "moved", "replaced", "dropped", "added", "rejected"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an old label, of a new one, or of two that are of the same thing."""

    kind: str
    """The kind of the annotations: a key of `MATCHING`."""

    old: Annotation | None
    """The label of an earlier round; None if the decision is about a new label only."""

    new: Annotation | None
    """The label of this round; None if the decision is about an old label only."""

    fate: Fate
    """What happens:

    kept      the old label stays; the new one, if any, is dropped, but raises the confidence of the
              old one if it agrees
    moved     the old label moves to the mean of both places and gets the id of the new one
    replaced  the old label is dropped; the new one stays, at the mean of both places
    dropped   the old label is dropped
    added     the new label stays; if the decision names an old label, it becomes the parent
    rejected  the new label is dropped; if the decision names an old label, it becomes the parent
    """

    reason: str = ""
    """Why a label is dropped: the value of `Annotation.dropped`. Empty if none is."""


def apply(decisions: Sequence[Decision], config: MergeConfig) -> Annotations:
    """The revisions of annotations that follow from decisions, in the order of the decisions.

    A triplet whose text goes may have been decided on before: then the earlier revision is removed.
    """
    revised = Annotations()
    for decision in decisions:
        rules: Rules = getattr(config, decision.kind)
        measured = config.levels.get(decision.kind, Thresholds())
        weight = effective_thresholds(rules, measured).reshape
        revisions: list[Annotation] = getattr(revised, decision.kind)
        if decision.reason == TEXT_DROPPED and decision.old is not None:
            _remove(revisions, decision.old.id)
        revisions += revise(decision, weight)
    return revised


def revise(decision: Decision, weight: float) -> list[Annotation]:
    """The revisions that follow from one decision: of the old label first, then of the new one.

    `weight` is that of the new place (`Thresholds.reshape`).
    """
    old = decision.old
    new = decision.new
    if old is not None and new is not None:
        return _revise_pair(decision, old, new, weight)
    if old is not None:
        return [_revise_old(decision, old)]
    assert new is not None, f"a decision on no label: {decision}"
    return [_revise_new(decision, new)]


def _remove(annotations: list[Annotation], id_: str) -> None:
    annotations[:] = [annotation for annotation in annotations if annotation.id != id_]


def _revise_old(decision: Decision, old: Annotation) -> Annotation:
    match decision.fate:
        case "kept":
            return old
        case "dropped":
            return replace(old, dropped=decision.reason)
    raise AssertionError(f"no decision on an old label: {decision}")


def _revise_new(decision: Decision, new: Annotation) -> Annotation:
    match decision.fate:
        case "added":
            return replace(new, confidence=new.score)
        case "rejected":
            return replace(new, dropped=decision.reason)
    raise AssertionError(f"no decision on a new label: {decision}")


def _revise_pair(
    decision: Decision, old: Annotation, new: Annotation, weight: float
) -> list[Annotation]:
    kind = MATCHING[decision.kind]
    match decision.fate:
        case "added" | "rejected":
            return [replace(_revise_new(decision, new), parents=[old.id])]
        case "kept":
            rejected = replace(new, dropped=decision.reason, parents=[old.id])
            return [_kept(decision, old, new), rejected]
        case "moved":
            successor = _moved(kind, old, new, weight)
        case "replaced":
            successor = _replaced(kind, old, new, weight)
        case _:
            raise AssertionError(f"no decision on two labels: {decision}")
    return [replace(old, dropped=decision.reason), successor]


def _kept(decision: Decision, old: Annotation, new: Annotation) -> Annotation:
    confidence = old.confidence
    if decision.reason == AGREES:
        confidence = _confidence_of_confirmed(old, new)
    return replace(old, confidence=confidence)


def _moved(kind: AnyKind, old: Annotation, new: Annotation, weight: float) -> Annotation:
    """The old label at the mean place, with the id and the origin of the new one.

    Its mask is removed, because it belongs to the old place.
    """
    score = old.score
    confidence = old.confidence
    if same_label(kind, old, new):
        score = _higher_score(old.score, new.score)
        confidence = _confidence_of_confirmed(old, new)
    changed = mean_place(kind, old, new, weight)
    if hasattr(old, "mask"):
        changed["mask"] = None
    return replace(
        old,
        id=new.id,
        source=new.source,
        model=new.model,
        revision=new.revision,
        round=new.round,
        score=score,
        confidence=confidence,
        parents=[old.id],
        **changed,
    )


def _replaced(kind: AnyKind, old: Annotation, new: Annotation, weight: float) -> Annotation:
    return replace(
        new,
        parents=[old.id],
        confidence=_confidence_of_renamed(old, new),
        **mean_place(kind, old, new, weight),
    )


def _confidence_before(old: Annotation) -> float | None:
    return old.score if old.confidence is None else old.confidence


def _confidence_of_confirmed(old: Annotation, new: Annotation) -> float | None:
    """The probability that at least one of two independent witnesses is right.

    If the old label had no score, return None: its confidence would be that of the second witness
    alone, and later thresholds on scores could drop it.
    """
    before = _confidence_before(old)
    if before is None:
        return None
    old_wrong = 1 - min(before, 1.0)
    new_wrong = 1 - min(new.score or 0.0, 1.0)
    return 1 - old_wrong * new_wrong


def _confidence_of_renamed(old: Annotation, new: Annotation) -> float | None:
    """At least the confidence of the old label: that there is a thing was believed before."""
    before = _confidence_before(old)
    if before is None:
        return new.score
    return _higher_score(before, new.score)


def _higher_score(before: float | None, now: float | None) -> float | None:
    """The higher score; None if the old label had none, so that no later score threshold can drop
    it."""
    if before is None:
        return None
    return max(before, now or 0.0)
