"""Which samples a release holds, and in which split.

Most samples are decided by their key alone (`pipeline.release.split`). The driver decides the rest
from the surveys of the shards and the duplicates. One rule holds for all copies of an image: what
is known of one copy is known of the group. So a takedown or an evaluation image removes all its
copies, no copy comes back in its place, and no two copies are in different splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.release.config import ReleaseConfig
from pipeline.release.safety import Maker, Note, merged
from pipeline.release.split import PLACES, Cuts, cuts_of, place_of
from pipeline.release.survey import Survey
from pipeline.schema import IMAGE_SCORE
from stages.dedup import Duplicate

TAKEDOWN, EVALUATION, DUPLICATE = "takedown", "evaluation_image", "duplicate"
"""Why a sample is not released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one sample that is not decided by its key alone."""

    split: str = ""
    """Its split; empty if it is removed."""
    removed: str = ""
    """Why it is removed; empty if it is released."""


Decisions = dict[str, dict[str, Decision]]
"""By shard, then by key."""


@dataclass(slots=True)
class Selection:
    """What the surveys of all shards say together."""

    config: ReleaseConfig
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    """By source: (PLACES,) int64, how many samples have each place."""
    shards: dict[str, str] = field(default_factory=dict)
    """The shard of each sample that is named below."""
    originals: dict[str, str] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)
    taken_down: dict[str, list[str]] = field(default_factory=dict)
    evaluation: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    notes: dict[Maker, Note] = field(default_factory=dict)
    """By `Note.maker`."""

    def add(self, survey: Survey) -> None:
        """Take in the survey of one shard.

        Raises:
            ValueError: a sample has no licence.
        """
        if survey.unlicensed:
            raise ValueError(
                f"sources: no licence for the sample {survey.unlicensed}; set sources.NAME.licence "
                "and, if there are several sources, sources.NAME.names"
            )
        for source, places in survey.places.items():
            counts = self.samples.setdefault(source, np.zeros(PLACES, np.int64))
            for place, count in places.items():
                counts[place] += count
        for note in survey.notes:
            before = self.notes.get(note.maker)
            self.notes[note.maker] = merged(before, note) if before else note
        for name in ("originals", "listed", "taken_down", "evaluation", "excluded"):
            named: Mapping[str, object] = getattr(survey, name)
            getattr(self, name).update(named)
            self.shards.update(dict.fromkeys(named, survey.shard))

    def check_scores(self) -> None:
        """Check that some image has each score by which images are excluded.

        Raises:
            ValueError: none has; all images would be left out.
        """
        scores = [note.name for note in self.notes.values() if note.kind == IMAGE_SCORE]
        for name in self.config.exclude:
            if name not in scores:
                known = ", ".join(sorted(set(scores))) or "none"
                raise ValueError(
                    f"exclude.{name}: no image of the round has this score (scores there: {known});"
                    " run a stage that gives it, such as `use: open_nsfw` for nudity, or leave the "
                    "setting out"
                )

    def cuts(self) -> dict[str, Cuts]:
        """Where each source is split."""
        shares = self.config.splits
        return {source: cuts_of(places, shares) for source, places in self.samples.items()}

    def decide(self, duplicates: Sequence[Duplicate]) -> Decisions:
        """The samples that are not decided by their key alone."""
        cuts = self.cuts()
        decided: dict[str, Decision] = {}
        for group in self._groups(duplicates):
            original = group[0]
            source = self.originals[original]
            place = place_of(original, self.config.seed)
            own = cuts[source].split_of(place)
            decided.update(self._decide_group(group, own))
        alone = {**self.listed, **self.taken_down, **self.evaluation, **self.excluded}
        for key in alone.keys() - decided.keys():
            split = self.listed.get(key, "")
            decided[key] = self._decide_one([key], split)
        decisions: Decisions = {}
        for key in sorted(decided):
            shard = self.shards[key]
            of_shard = decisions.setdefault(shard, {})
            of_shard[key] = decided[key]
        return decisions

    def _groups(self, duplicates: Sequence[Duplicate]) -> list[list[str]]:
        """The keys of each image that has copies: the best one first, then the others."""
        groups: dict[str, list[str]] = {}
        for duplicate in duplicates:
            group = groups.setdefault(duplicate.kept, [duplicate.kept])
            group.append(duplicate.key)
            self.shards[duplicate.key] = duplicate.shard
        return list(groups.values())

    def _decide_one(self, group: Sequence[str], split: str) -> Decision:
        """What becomes of the image whose copies these are; `split` is for one that is released."""
        if any(key in self.taken_down for key in group):
            return Decision(removed=TAKEDOWN)
        if any(key in self.evaluation for key in group):
            return Decision(removed=EVALUATION)
        reasons = [self.excluded[key] for key in group if key in self.excluded]
        if reasons:
            # A score that is too high says more than one that is missing.
            return Decision(removed=min(reasons))
        return Decision(split=split)

    def _decide_group(self, group: Sequence[str], own: str) -> dict[str, Decision]:
        """The decisions for an image and its copies; `own` is its split if no list names one."""
        split = self._listed_split(group)
        image = self._decide_one(group, split or own)
        if self.config.duplicates == "keep":
            return dict.fromkeys(group, image)
        # The best copy stands first. A list asks for one of those that it names.
        released = group[0]
        if split:
            named = [key for key in group if self.listed.get(key) == split]
            released = group[0] if group[0] in named else min(named)
        decided = {}
        for key in group:
            own_decision = self._decide_one([key], "")
            if key == released:
                decided[key] = image
            elif own_decision.removed:
                decided[key] = own_decision
            else:
                # It is a duplicate whatever becomes of the image, so that a takedown of the
                # image changes nothing in the shards of its copies.
                decided[key] = Decision(removed=DUPLICATE)
        return decided

    def _listed_split(self, group: Iterable[str]) -> str:
        """The split for which a list names a copy, the first of the settings; empty if none."""
        named = {self.listed[key] for key in group if key in self.listed}
        for split in self.config.split_lists:
            if split in named:
                return split
        return ""
