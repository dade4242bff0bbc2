"""Checks of one shard in one split: the tar, sample by sample, against its tables.

The records in the tar are read first. What the tables say must follow from them, and both must hold
by themselves: keys, checksums and sizes of the images, boxes, masks, spans.

A file or a record that cannot be read is one finding. What it should say is unknown, so nothing is
compared with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from pipeline.release.content import problem_of
from pipeline.release.facts import Facts
from pipeline.release.findings import Findings
from pipeline.release.lineage import LineageRow
from pipeline.release.safety import Safety
from pipeline.release.tables import (
    AnnotationRow,
    FlagRow,
    ObjectsRow,
    Place,
    SampleRow,
    annotation_rows,
    objects_row,
    sample_row,
)
from pipeline.release.verify_flags import flag_problems
from pipeline.release.verify_rows import in_words, read_rows, row_problems
from pipeline.release.verify_tar import Samples, TarSample
from pipeline.rows import Record
from pipeline.schema import KINDS
from pipeline.storage import layout_release
from pipeline.storage.arrow import T, from_dict
from pipeline.storage.store import Store
from pipeline.storage.tars import Member
from stages.image_file import open_image

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class PartCheck:
    """Checks one shard in one split."""

    def __init__(
        self,
        store: Store,
        split: str,
        shard: str,
        findings: Findings,
    ) -> None:
        self.records: list[Record] = []
        """The records that could be read."""
        self.rows: list[SampleRow] = []
        """Their rows of the index, as they should be."""
        self.flags: list[FlagRow] = []
        """Their flags, as they are stored."""
        self.is_readable = True
        """False if a record or a table cannot be read, so that the counts are unknown."""
        self._unknown: set[str] = set()
        """The keys of the samples whose records are unknown."""
        self._store = store
        self._split = split
        self._shard = shard
        self._findings = findings
        self.tar = layout_release.release_tar("", split, shard)
        self.index = self._name(layout_release.INDEX)

    def run(self, facts: Facts | None) -> None:
        """Check the tar and all tables; what depends on the facts is left out without them."""
        stored = self._table(layout_release.INDEX, SampleRow)
        by_key = {row.key: row for row in stored or ()}
        seen = set()
        samples = Samples(self._store, self.tar, self._findings)
        for sample in samples:
            row = by_key.get(sample.key)
            if sample.key in seen:
                self._findings.add(self.tar, "its members are not adjacent", sample.key)
            elif row is not None:
                self._check_sample(sample, row, facts)
            elif stored is None:
                self._unknown.add(sample.key)
            else:
                self._findings.add(self.index, "no row for this sample of the tar", sample.key)
            seen.add(sample.key)
        self._check_missing(by_key.keys() - seen, samples.is_whole)
        if len(by_key) < len(stored or ()):
            self._findings.add(self.index, "a key has several rows")
        if stored is None and not samples.is_whole:
            # Nothing tells which samples the other tables should be about.
            return
        self._check_annotations()
        self._check_objects()
        self._check_lineage()
        if facts is not None:
            self._check_flags(facts.checks.safety)

    def _check_missing(self, keys: Iterable[str], is_tar_whole: bool) -> None:
        """Note the samples of the index that the tar lacks, if it could be read to its end."""
        if is_tar_whole:
            for key in sorted(keys):
                self._findings.add(self.tar, "the sample is missing", key)
        else:
            self.is_readable = False
            self._unknown.update(keys)

    def _check_flags(self, safety: Safety) -> None:
        """Check the table of flags against the records."""
        flags = self._table(layout_release.FLAGS, FlagRow)
        if flags is None:
            return
        self.flags = [row for row in flags if row.key not in self._unknown]
        name = self._name(layout_release.FLAGS)
        for found in flag_problems(self.flags, self.records, safety):
            self._findings.add(name, found.problem, found.key)

    def _check_sample(self, sample: TarSample, row: SampleRow, facts: Facts | None) -> None:
        """Check the image and the record of one sample, and its row of the index."""
        with_images = "json" not in sample.data or len(sample.data) > 1
        if facts is not None:
            with_images = facts.images == "include"
            terms = facts.sources.get(row.source)
            if terms is None or terms.licence != row.licence:
                problem = f"no source {row.source} with the licence {row.licence} in the release"
                self._findings.add(self.index, problem, row.key)
        record = self._record(sample)
        if record is None:
            self.is_readable = False
            self._unknown.add(sample.key)
            return
        image = self._check_image(sample, record) if with_images else None
        place = Place(
            shard=self._shard,
            split=self._split,
            source=row.source,
            licence=row.licence,
            image=image,
            record=sample.members["json"],
        )
        expected = sample_row(record, place)
        self._compare(
            self.index,
            row.key,
            row,
            expected,
        )
        self._check_labels(record)
        self.records.append(record)
        self.rows.append(expected)

    def _record(self, sample: TarSample) -> Record | None:
        """The record of a sample, None if it is broken."""
        try:
            record: Record = from_dict(Record, json.loads(sample.data["json"]))
        except KeyError:
            self._findings.add(self.tar, "has no record (json)", sample.key)
            return None
        except ValueError as error:
            self._findings.add(self.tar, f"its record is broken: {error}", sample.key)
            return None
        if record.key != sample.key:
            self._findings.add(self.tar, f"its record has the key {record.key}", sample.key)
            return None
        return record

    def _check_image(self, sample: TarSample, record: Record) -> Member | None:
        """Check the image of a sample; returns where it lies."""
        names = [name for name in sample.data if name != "json"]
        if len(names) != 1:
            self._findings.add(self.tar, f"has {len(names)} images instead of one", sample.key)
            return None
        data = sample.data[names[0]]
        if hashlib.sha256(data).hexdigest() != record.sha256:
            self._findings.add(self.tar, "the image has another sha256 than its record", sample.key)
        try:
            with open_image(data) as image:
                size = image.size
        except (OSError, ValueError, SyntaxError) as error:
            self._findings.add(self.tar, f"the image cannot be read: {error}", sample.key)
            return sample.members[names[0]]
        if size != (record.width, record.height):
            problem = f"the image has {size} pixels, its record ({record.width}, {record.height})"
            self._findings.add(self.tar, problem, sample.key)
        return sample.members[names[0]]

    def _check_labels(self, record: Record) -> None:
        """Check the annotations of a record: ids, boxes, quads, masks, spans."""
        size = (record.width, record.height)
        texts = {text.id: text.text for text in record.annotations.texts}
        ids = set()
        for kind in KINDS:
            for annotation in getattr(record.annotations, kind):
                problem = problem_of(annotation, size, texts)
                if annotation.id in ids:
                    problem = "another annotation has its id"
                elif annotation.dropped:
                    problem = f"was dropped: {annotation.dropped}"
                if problem:
                    text = f"{annotation.id}: {in_words(problem, annotation, size)}"
                    self._findings.add(self.tar, text, record.key)
                ids.add(annotation.id)

    def _check_annotations(self) -> None:
        """Check the table of annotations: by itself, and against the records."""
        name = self._name(layout_release.ANNOTATIONS)
        sizes = {record.key: (record.width, record.height) for record in self.records}
        texts: dict[tuple[str, str], str] = {}
        rows = self._table(layout_release.ANNOTATIONS, AnnotationRow)
        for row in rows or ():
            if row.type == "text":
                texts[row.key, row.id] = row.text or ""
            for problem in row_problems(row, sizes.get(row.key), texts):
                self._findings.add(name, f"{row.id}: {problem}", row.key)
        expected = [row for record in self.records for row in annotation_rows(record)]
        self._compare_all(name, rows, expected)

    def _check_objects(self) -> None:
        """Check the table of objects against the records."""
        rows = self._table(layout_release.OBJECTS, ObjectsRow)
        expected = [objects_row(record) for record in self.records]
        self._compare_all(self._name(layout_release.OBJECTS), rows, expected)

    def _check_lineage(self) -> None:
        """Check that each annotation has its signals."""
        name = self._name(layout_release.LINEAGE)
        rows = self._table(layout_release.LINEAGE, LineageRow)
        if rows is None:
            return
        ids = set()
        for row in rows:
            if row.key in self._unknown:
                continue
            ids.add((row.key, row.id))
            if not row.signals:
                self._findings.add(name, f"{row.id}: names no signals", row.key)
        wanted = set()
        for record in self.records:
            wanted |= {(record.key, annotation.id) for annotation in record.annotations.all()}
        for key, id_ in sorted(wanted - ids):
            self._findings.add(name, f"{id_}: no row for this annotation", key)
        for key, id_ in sorted(ids - wanted):
            self._findings.add(name, f"{id_}: no annotation has this id", key)

    def _compare_all(
        self,
        name: str,
        rows: Sequence[AnnotationRow] | Sequence[ObjectsRow] | None,
        wanted: Sequence[AnnotationRow] | Sequence[ObjectsRow],
    ) -> None:
        """Compare the rows of a table, by key and id, with what follows from the records."""
        if rows is None:
            return
        stored = {_place(row): row for row in rows if row.key not in self._unknown}
        expected = {_place(row): row for row in wanted}
        for place, row in expected.items():
            key, id_ = place
            if place not in stored:
                self._findings.add(name, f"{id_}: no row, but it is in the tar".lstrip(": "), key)
            else:
                self._compare(
                    name,
                    key,
                    stored[place],
                    row,
                    id_,
                )
        for key, id_ in stored.keys() - expected.keys():
            self._findings.add(name, f"{id_}: not in the tar".lstrip(": "), key)

    def _compare(
        self,
        name: str,
        key: str,
        stored: DataclassInstance,
        expected: DataclassInstance,
        id_: str = "",
    ) -> None:
        """Name the first column in which a row differs from what follows from the record."""
        for column in fields(expected):
            said = getattr(stored, column.name)
            right = getattr(expected, column.name)
            if said != right:
                problem = f"{column.name} is {said}, in the tar {right}"
                self._findings.add(name, f"{id_}: {problem}".lstrip(": "), key)
                return

    def _table(self, part: str, cls: type[T]) -> list[T] | None:
        """The rows of a table, None if it is broken."""
        rows = read_rows(
            self._store,
            self._name(part),
            cls,
            self._findings,
        )
        if rows is None:
            self.is_readable = False
        return rows

    def _name(self, part: str) -> str:
        return layout_release.release_table(
            "",
            part,
            self._split,
            self._shard,
        )


def _place(row: AnnotationRow | ObjectsRow) -> tuple[str, str]:
    """(key, id) of what a row is about; the id is empty for a whole sample."""
    return row.key, row.id if isinstance(row, AnnotationRow) else ""
