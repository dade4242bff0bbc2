"""What stages have noted about the images of a shard for review: scores of images, and findings.

In: the table of the round. Only the columns of regions are read that tell it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from pipeline.release.safety import EXCLUDED, NOT_SCORED, Note, merged
from pipeline.schema import FINDING, IMAGE_SCORE
from pipeline.storage import layout
from pipeline.storage.store import Store

ROUND = "round"
"""How the released round is called in the state of a shard."""
COLUMNS = ("phrase", "score", "dropped", "model", "revision")


@dataclass(slots=True)
class ShardNotes:
    """The notes of one shard."""

    notes: dict[tuple[str, str, str, str], Note] = field(default_factory=dict)
    """By `Note.maker`."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """By the key of a sample, then by name: the highest score of its image."""

    def excluded(self, limits: Mapping[str, float], key: str) -> str:
        """Why a sample is not released by its scores; empty if they do not stand against it."""
        scores = self.scores.get(key, {})
        for name, limit in limits.items():
            if name in scores and scores[name] >= limit:
                return EXCLUDED
        if limits.keys() - scores.keys():
            return NOT_SCORED
        return ""


def read_notes(store: Store, round_folder: str, shard: str) -> ShardNotes:
    """The notes of a shard."""
    found = ShardNotes()
    for key, notes in _rows(store, layout.round_table(round_folder, shard)):
        of_sample: dict[tuple[str, str, str, str], Note] = {}
        for note in notes:
            if note.maker in of_sample:
                # Two findings in one image are about one image.
                both = merged(of_sample[note.maker], note)
                of_sample[note.maker] = replace(both, images=1)
            else:
                of_sample[note.maker] = note
            if note.kind == IMAGE_SCORE and note.highest is not None:
                scores = found.scores.setdefault(key, {})
                scores[note.name] = max(note.highest, scores.get(note.name, note.highest))
        for maker, note in of_sample.items():
            before = found.notes.get(maker)
            found.notes[maker] = merged(before, note) if before else note
    return found


def _rows(store: Store, table: str) -> Iterator[tuple[str, list[Note]]]:
    """The key of each sample with a note for each of its regions that is one."""
    import pyarrow.parquet as pq

    columns = [f"annotations.regions.list.element.{name}" for name in COLUMNS]
    with store.open(table) as file:
        rows = pq.ParquetFile(file, pre_buffer=False).read(["key", *columns], use_threads=False)
    for row in rows.to_pylist():
        notes = []
        for region in (row["annotations"] or {}).get("regions") or ():
            if region["dropped"] not in (IMAGE_SCORE, FINDING):
                continue
            notes.append(
                Note(
                    name=region["phrase"],
                    kind=region["dropped"],
                    model=region["model"],
                    revision=region["revision"],
                    images=1,
                    regions=1,
                    highest=region["score"],
                )
            )
        yield row["key"], notes
