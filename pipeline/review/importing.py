"""`fld review import`: what people said becomes an input of the engine, like labels of the source.

Nothing of the round changes. The next `fld run` lays the labels over those of the source, redoes
the samples concerned in every stage, and all rounds that follow from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pipeline.quality.audit import wilson
from pipeline.quality.reviewed import with_review
from pipeline.review.answers import answers_of, keys_of, round_of, tool_of
from pipeline.review.labels import KEPT, ReviewedSample, reviewed_sample
from pipeline.review.picks import RANDOM
from pipeline.rows import Record
from pipeline.schema import Annotations
from pipeline.storage import layout
from pipeline.storage.reviews import Stood, add_stands, publish_reviews, read_reviews
from pipeline.storage.rounds import OpenRound, open_round
from pipeline.storage.store import Store

UNNAMED = "unnamed"
"""The reviewer if neither the command nor the file names one."""


@dataclass(slots=True)
class Imported:
    """What an import brought."""

    samples: int = 0
    unanswered: int = 0
    """Samples of the file that nobody has submitted."""
    replaced: int = 0
    """Samples with an earlier review, which this one replaces."""
    counts: Counter[str] = field(default_factory=Counter)
    """What happened to the labels."""
    random: Counter[str] = field(default_factory=Counter)
    """What happened to the boxes of machines in samples that were picked by chance."""
    lost_masks: int = 0
    """Moved boxes whose masks show the old places, so that they have none now."""

    def estimate(self) -> str:
        """How many boxes of machines are right, by the samples that were picked by chance."""
        judged = self.random.total()
        if not judged:
            return ""
        right = self.random[KEPT]
        low, high = wilson(right, judged)
        return (
            f"boxes of machines in samples picked by chance: {right} of {judged} stood "
            f"({right / judged:.1%}, 95% interval {low:.1%} to {high:.1%})"
        )


def import_review(store: Store, file: str, content: object, reviewer: str = "") -> Imported:
    """Take in a file of reviewed samples; a later review of a sample replaces an earlier one.

    Args:
        store: the work folder.
        file: its name, for messages.
        content: its JSON.
        reviewer: who reviewed; empty to take the name from the file.

    Raises:
        ValueError: the file is none of those, or something in it makes no sense.
    """
    tool = tool_of(content, file)
    named = round_of(content, tool)
    opened = open_round(f"{store.url}/{layout.named_round(named)}" if named else store.url)
    keys = keys_of(content, tool)
    found = _records_of(opened, set(keys))
    missing = sorted(set(keys) - found.keys())
    if missing:
        raise ValueError(f"{file}: round {opened.name} has no sample {missing[0]}")
    records = {key: record for key, (_, record) in found.items()}
    answers = answers_of(content, tool, records)
    imported = Imported(unanswered=len(set(keys)) - len(answers))
    shards: dict[str, dict[str, Annotations]] = {}
    stands = {}
    for answer in answers:
        who = reviewer or answer.reviewer or UNNAMED
        sample = reviewed_sample(records[answer.key], answer, who)
        _count(imported, sample)
        if answer.why == RANDOM:
            imported.random += sample.machine
            stands[answer.key] = Stood(sum(sample.machine.values()), sample.machine[KEPT])
        shard = found[answer.key][0]
        shards.setdefault(shard, {})[answer.key] = sample.labels
    for shard, labels in shards.items():
        earlier = read_reviews(store, shard).labels
        imported.replaced += len(earlier.keys() & labels.keys())
        publish_reviews(store, shard, _merged(earlier, labels))
    add_stands(store, opened.name, stands)
    return imported


def _count(imported: Imported, sample: ReviewedSample) -> None:
    imported.samples += 1
    imported.counts += sample.counts
    imported.lost_masks += sample.lost_masks


def _merged(
    earlier: Mapping[str, Annotations], now: Mapping[str, Annotations]
) -> dict[str, Annotations]:
    """All reviews of a shard. What a later one does not speak of stays as it was."""
    merged = dict(earlier)
    for key, labels in now.items():
        merged[key] = with_review(earlier.get(key, Annotations()), labels)
    return merged


def _records_of(opened: OpenRound, keys: Collection[str]) -> dict[str, tuple[str, Record]]:
    """(shard, record) of some samples by their keys."""
    found = {}
    for shard in opened.shards():
        for record in opened.read(shard):
            if record.key in keys:
                found[record.key] = (shard, record)
    return found
