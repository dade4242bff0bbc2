"""Old labels and the model's new ones, merged: a pure function over the annotations of one sample, and its stage.

In: kept annotations of earlier rounds, with `support` (the mean log-probability per token that the round's model gives
to them) where the model judged them, and the model's own annotations of this round: what it found, and alternatives,
whose parent is the old annotation that they would rename. Out: revisions only. Paper section 4.2, 'iterative data
refinement'; the rules are ours, the paper gives none.

    agree         found again under the same label: the old one stays, its confidence rises
    relabel       found, or asked about, under a likelier label: that one takes its place
    reshape       found elsewhere on the same thing: a new one with the label that stays and the mean of both boxes
    unsupported   neither found nor believed: dropped
    duplicate     not found, and the same thing as one that stays: dropped
    add           found, sure enough, and no old one is left for it: stays

How sure is sure enough is measured (pipeline/levels.py), as no scale of a model or a task is known beforehand. All of
it needs a model that deserves trust in its task: one that finds too few of the old labels of a kind again, over the
samples that it has not learned from, changes nothing of that kind (`not_trusted`).

Whatever replaces an old annotation names it as its parent. Human labels are never touched, and what the model did not
look at (no `support`, nothing new of its kind) stays. Likelihoods are natural logarithms per token.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pipeline.refinement.matching import MATCHING, Kind, shared_words, turned
from pipeline.refinement.rules import Levels, MergeConfig, Rules, in_force
from pipeline.refinement.thresholds import Confirmed, measured
from pipeline.schema import Annotation, Annotations, Text
from stages.base import Batch, Result
from stages.geometry import greedy_match

AGREES, LESS_LIKELY, RELABELLED, RESHAPED = "agrees", "less_likely", "relabelled", "reshaped"
NOT_SUPPORTED, NOT_CONFIDENT, DUPLICATE, TEXT_DROPPED = (
    "not_supported",
    "not_confident",
    "duplicate",
    "text_dropped",
)
NOT_TRUSTED = "not_trusted"
LEAST = 1e-9  # the least probability


def merge(annotations: Annotations, this_round: int, config: MergeConfig) -> Annotations:
    """The revisions that the rules above make; the result does not depend on the order of the input."""
    merged = {}
    for name, part in _parts(annotations, this_round, config):
        trusted = part.levels.refound >= part.rules.min_refound
        merged[name] = part.revisions() if trusted else part.distrusted()
    kept = annotations.overlaid(Annotations(**merged)).kept()
    standing = {text.id for text in kept.texts}
    gone = [
        replace(t, dropped=TEXT_DROPPED)
        for t in kept.triplets
        if t.text_id not in standing and not t.locked
    ]
    merged["triplets"] = [t for t in merged["triplets"] if t.id not in {g.id for g in gone}] + gone
    return Annotations(**merged)


def confirmed(
    annotations: Annotations, this_round: int, config: MergeConfig
) -> dict[str, tuple[list[Confirmed], int]]:
    """By kind, the old labels that the model confirms, and how many it could have: those that it judged, and human
    ones; of several captions no more than it wrote."""
    seen = {}
    for name, part in _parts(annotations, this_round, config):
        open_to = [a.support is not None or a.locked for a in part.old]
        agreed = [
            Confirmed(_sureness(part.found[i]), _likelihood(part.found[i]), part.old[j].support)
            for i, j in part.pairs()
            if open_to[j] and part.agree(part.found[i], part.old[j])
        ]
        could = [a for a, is_open in zip(part.old, open_to, strict=True) if is_open]
        seen[name] = (agreed, len(could) if part.kind.place else _as_many(could, part.found))
    return seen


def _as_many(old: Sequence[Text], found: Sequence[Text]) -> int:
    """Of how many old texts there is a found one of their granularity."""
    return (
        Counter(text.granularity for text in old) & Counter(text.granularity for text in found)
    ).total()


def levels(
    samples: Iterable[Annotations], this_round: int, config: MergeConfig
) -> dict[str, Levels]:
    """The measured levels of every kind that has old labels which the model judged."""
    seen = _confirmed_of_all(samples, this_round, config)
    return {
        name: measured(getattr(config, name), agreed, judged)
        for name, (agreed, judged) in seen.items()
    }


def agreement(
    samples: Iterable[Annotations], this_round: int, config: MergeConfig
) -> dict[str, Any]:
    """How far a model agrees with the old labels, for sets without truth.

    `kinds` holds, by kind, how many old labels it confirmed and how many it could have; `refound` is the share over all
    kinds, `support` the mean log-probability per token that it gives to old labels (both None when there are none).
    """
    support: list[float] = []

    def watched() -> Iterator[Annotations]:
        for each in samples:
            support.extend(
                a.support for a in each.all() if a.round < this_round and a.support is not None
            )
            yield each

    seen = _confirmed_of_all(watched(), this_round, config)
    could = sum(judged for _, judged in seen.values())
    return {
        "refound": sum(len(agreed) for agreed, _ in seen.values()) / could if could else None,
        "support": float(np.mean(support)) if support else None,
        "kinds": {
            name: {"confirmed": len(agreed), "of": judged}
            for name, (agreed, judged) in seen.items()
        },
    }


def _confirmed_of_all(
    samples: Iterable[Annotations], this_round: int, config: MergeConfig
) -> dict[str, tuple[list[Confirmed], int]]:
    """`confirmed` over samples, for the kinds that the model was asked about."""
    agreed: dict[str, list[Confirmed]] = {name: [] for name in MATCHING}
    judged: Counter[str] = Counter()
    asked: set[str] = set()
    for each in samples:
        for name, (pairs, count) in confirmed(each, this_round, config).items():
            agreed[name] += pairs
            judged[name] += count
        asked |= {
            n
            for n in MATCHING
            if any(a.round == this_round or a.support is not None for a in getattr(each, n))
        }
    return {
        name: (agreed[name], judged[name]) for name in MATCHING if name in asked and judged[name]
    }


def _parts(
    annotations: Annotations, this_round: int, config: MergeConfig
) -> Iterator[tuple[str, _Merge]]:
    for name, kind in MATCHING.items():
        everything = sorted(
            (a for a in getattr(annotations, name) if a.dropped is None), key=lambda a: a.id
        )
        old = [a for a in everything if a.round < this_round]
        new = [a for a in everything if a.round == this_round]
        yield name, _Merge(kind, getattr(config, name), config.levels.get(name, Levels()), old, new)


class _Merge:
    """One kind of annotation of one sample."""

    def __init__(
        self, kind: Kind, rules: Rules, levels: Levels, old: Sequence[Any], new: Sequence[Any]
    ) -> None:
        self.kind, self.rules, self.levels, self.old = kind, rules, in_force(rules, levels), old
        known = {a.id: j for j, a in enumerate(old)}
        self.new = new
        self.found = [a for a in new if not known.keys() & set(a.parents)]
        asked = [(known[p], a) for a in new for p in a.parents if p in known]
        self.other = dict(
            sorted(asked, key=lambda each: _likelihood(each[1]))
        )  # the likeliest of several
        self.spare = [a for j, a in asked if a is not self.other[j]]
        self.done: list[Any] = [replace(a, dropped=LESS_LIKELY) for a in self.spare]

    def distrusted(self) -> list[Any]:
        return [replace(a, dropped=NOT_TRUSTED) for a in self.new]

    def revisions(self) -> list[Any]:
        pairs = self.pairs()
        for i, j in pairs:
            self._meet(self.old[j], self.found[i], self.other.get(j))
        met = {j for _, j in pairs}
        for i in sorted(set(range(len(self.found))) - {i for i, _ in pairs}):
            self._alone(self.found[i])
        standing = [a for a in self.done if a.dropped is None]
        for j, old in enumerate(self.old):
            other = self.other.get(j)
            if j not in met:
                self._unfound(old, other, standing)
        return self.done

    def pairs(self) -> list[tuple[int, int]]:
        """(found, old) that are the same thing; one label counts more than much overlap."""
        overlap = self.kind.overlap(self.found, self.old)
        same = np.array([[self.same(a, b) for b in self.old] for a in self.found], bool).reshape(
            overlap.shape
        )
        near = np.where(same, overlap >= self.rules.same_iou, overlap >= self.rules.match_iou)
        return greedy_match(
            np.where(near, overlap + same, -1.0), [_likelihood(a) for a in self.found], 0.0
        )

    def same(self, a: Any, b: Any) -> bool:
        return bool(self.kind.label(a) == self.kind.label(b))

    def agree(self, a: Any, b: Any) -> bool:
        """Whether two labels of one thing confirm each other."""
        if self.kind.given:
            return bool(self.kind.overlap([a], [b])[0, 0] >= self.rules.match_iou)
        share = self.rules.agree
        return self.same(a, b) or (
            share < 1 and shared_words(self.kind.label(a), self.kind.label(b)) >= share
        )

    def _likelier(self, new: Any, old: Any) -> bool:
        return (
            old.support is not None and _likelihood(new) - old.support > self.rules.relabel_margin
        )

    def _meet(self, old: Any, new: Any, other: Any | None) -> None:
        """The fate of two annotations of one thing, and of what the model would call the old one."""
        same = self.same(old, new)
        name = None if same or old.locked else self._name(old, other)
        if old.locked:
            self.done.append(
                replace(new, dropped=AGREES if same else LESS_LIKELY, parents=[old.id])
            )
        elif not same and self._likelier(new, old) and self._sure(new):
            better = replace(
                new, parents=[old.id], confidence=_surer(old, new), **self._place(old, new)
            )
            self.done += [replace(old, dropped=RELABELLED), better]
        elif name is not None:
            self._rename(old, name)
            self.done.append(
                replace(
                    new, dropped=AGREES if self.same(new, name) else LESS_LIKELY, parents=[old.id]
                )
            )
            return
        elif same or self.kind.place is not None or not self._tie(old, new):
            self._keep(old, new, same)
        if other is not None:
            self.done.append(replace(other, dropped=LESS_LIKELY))

    def _keep(self, old: Any, new: Any, same: bool) -> None:
        """The old label stays, and its box where the new one hardly differs."""
        confidence = _either(old, new) if same else old.confidence
        place = self._place(old, new) if self._sure(new) else {}
        moved = replace(old, **place)
        if not place or self.kind.overlap([moved], [old])[0, 0] >= self.rules.reshape_iou:
            dropped = AGREES if same else LESS_LIKELY
            self.done += [
                replace(old, confidence=confidence),
                replace(new, dropped=dropped, parents=[old.id]),
            ]
            return
        origin = {
            name: getattr(new, name) for name in ("id", "source", "model", "revision", "round")
        }
        mask = {"mask": None} if hasattr(old, "mask") else {}
        score = _most(old.score, new.score) if same else old.score
        moved = replace(
            moved, **origin, **mask, score=score, confidence=confidence, parents=[old.id]
        )
        self.done += [replace(old, dropped=RESHAPED), moved]

    def _tie(self, old: Text, new: Text) -> bool:
        """Two likely texts: whether the setting keeps the new one, beside the old one or in its place."""
        if self.rules.tie == "old" or not self._sure(new):
            return False
        if self.rules.tie == "longer" and len(new.text.split()) <= len(old.text.split()):
            return False
        stays = self.rules.tie == "both"
        self.done += [old if stays else replace(old, dropped=RELABELLED)]
        self.done += [replace(new, parents=[old.id], confidence=new.score)]
        return True

    def _alone(self, new: Any) -> None:
        """Found where nothing old lies."""
        sure = self._sure(new)
        self.done.append(
            replace(new, confidence=new.score) if sure else replace(new, dropped=NOT_CONFIDENT)
        )

    def _sure(self, new: Any) -> bool:
        return self.levels.add is not None and _sureness(new) >= self.levels.add

    def _unfound(self, old: Any, other: Any | None, standing: Sequence[Any]) -> None:
        """An old one that was not found again, and what the model would call it."""
        name = self._name(old, other)
        fate, reason = None, LESS_LIKELY
        if not old.locked and old.support is not None:
            if self._near(old, standing, self.rules.match_iou) or self._near(
                name, standing, self.rules.same_iou
            ):
                fate = reason = DUPLICATE
            elif name is not None:
                fate = RELABELLED
            elif self.levels.drop is not None and old.support < self.levels.drop:
                fate, reason = NOT_SUPPORTED, NOT_CONFIDENT
        if fate == RELABELLED:
            self._rename(old, other)
            return
        if fate:
            self.done.append(replace(old, dropped=fate))
        if other is not None:
            self.done.append(replace(other, dropped=reason))

    def _rename(self, old: Any, other: Any) -> None:
        """Another label in the place of the old one, whose box is the same."""
        mask = {"mask": old.mask} if hasattr(old, "mask") else {}
        self.done += [
            replace(old, dropped=RELABELLED),
            replace(other, confidence=_surer(old, other), **mask),
        ]

    def _name(self, old: Any, other: Any | None) -> Any | None:
        """What an old one that was not found is called now, when the model is sure enough of it."""
        level = self.levels.rename
        if (
            other is None
            or level is None
            or _likelihood(other) < level
            or not self._likelier(other, old)
        ):
            return None
        return other

    def _near(self, item: Any | None, standing: Sequence[Any], iou: float) -> bool:
        """Whether the same thing stands already, a little beside."""
        if item is None or self.kind.place is None:
            return False
        same = [a for a in standing if self.same(a, item)]
        return bool((self.kind.overlap(same, [item]) >= iou).any())

    def _place(self, old: Any, new: Any) -> dict[str, Any]:
        """The mean of both places, as the field that holds it; nothing when the old one stays."""
        weight = self.rules.reshape
        if self.kind.place is None or not weight:
            return {}
        old_place, new_place = getattr(old, self.kind.place), getattr(new, self.kind.place)
        if self.kind.place == "quad":
            new_place = turned(new_place, old_place)
        points = zip(old_place, new_place, strict=True)
        return {
            self.kind.place: tuple(before + weight * (after - before) for before, after in points)
        }


def _likelihood(annotation: Annotation) -> float:
    """Natural log-probability per token: the judged one, else that of the model's own score."""
    if annotation.support is not None:
        return annotation.support
    return math.log(max(annotation.score or 0.0, LEAST))


def _sureness(annotation: Annotation) -> float:
    """Of its place and its label: the lower one."""
    return min(math.log(max(annotation.score or 0.0, LEAST)), _likelihood(annotation))


def _surer(old: Annotation, new: Annotation) -> float | None:
    """The confidence in a thing under a new name: that it is there was believed before."""
    before = old.confidence if old.confidence is not None else old.score
    return new.score if before is None else _most(before, new.score)


def _most(before: float | None, now: float | None) -> float | None:
    """The higher of two scores; None when there was none before: no filter has judged by it, and none shall."""
    return None if before is None else max(before, now or 0.0)


def _either(old: Annotation, new: Annotation) -> float | None:
    """The probability that one of two independent witnesses is right; None when the first never said how sure it is,
    so that a label which passed without a score is not judged by the second one's alone."""
    before = old.confidence if old.confidence is not None else old.score
    return None if before is None else 1 - (1 - min(before, 1.0)) * (1 - min(new.score or 0.0, 1.0))


class Merge:
    version: ClassVar[int] = 7
    reads_images: ClassVar[bool] = False

    def __init__(self, config: MergeConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [merge(sample.annotations, sample.round, self.config) for sample in batch]
