"""What stages have noted about the images of a shard for review: scores of images, and findings.

In: the table of the round. Only the columns of regions are read that tell it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from pipeline.release.safety import EXCLUDED, NOT_SCORED, Maker, Note, merged
from pipeline.schema import FINDING, IMAGE_SCORE
from pipeline.storage import layout
from pipeline.storage.store import Store

ROUND = "round"
"""How the released round is called in the state of a shard."""
COLUMNS = ("phrase", "score", "dropped", "model", "revision")


@dataclass(slots=True)
class ShardNotes:
    """The notes of one shard."""

    notes: dict[Maker, Note] = field(default_factory=dict)
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


def read_notes(
    store: Store,
    round_folder: str,
    shard: str,
) -> ShardNotes:
    """The notes of a shard."""
    found = ShardNotes()
    for key, notes in _rows(store, layout.round_table(round_folder, shard)):
        of_sample: dict[Maker, Note] = {}
        for note in notes:
            _add(of_sample, note)
            if note.kind == IMAGE_SCORE and note.highest is not None:
                scores = found.scores.setdefault(key, {})
                before = scores.get(note.name, note.highest)
                scores[note.name] = max(note.highest, before)
        for note in of_sample.values():
            # Two findings in one image are about one image.
            _add(found.notes, replace(note, images=1))
    return found


def _add(notes: dict[Maker, Note], note: Note) -> None:
    """Add a note to those of its maker."""
    before = notes.get(note.maker)
    notes[note.maker] = merged(before, note) if before else note


def _rows(store: Store, table: str) -> Iterator[tuple[str, list[Note]]]:
    """The key of each sample with a note for each of its regions that is one."""
    import pyarrow.parquet as pq

    columns = ["key"]
    for name in COLUMNS:
        columns.append(f"annotations.regions.list.element.{name}")
    with store.open(table) as file:
        reader = pq.ParquetFile(file, pre_buffer=False)
        rows = reader.read(columns, use_threads=False)
    for row in rows.to_pylist():
        annotations = row["annotations"] or {}
        notes = []
        for region in annotations.get("regions") or ():
            if region["dropped"] not in (IMAGE_SCORE, FINDING):
                continue
            note = Note(
                name=region["phrase"],
                kind=region["dropped"],
                model=region["model"],
                revision=region["revision"],
                images=1,
                regions=1,
                highest=region["score"],
            )
            notes.append(note)
        yield row["key"], notes
