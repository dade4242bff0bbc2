"""Checks of one shard in one split: the tar, sample by sample, against its tables.

The records in the tar are read first. What the tables say must follow from them, and both must hold
by themselves: keys, checksums and sizes of the images, boxes, masks, spans.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from pipeline.release.content import problem_of
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
from pipeline.release.verify_tar import TarSample, read_samples
from pipeline.schema import KINDS, Record
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
        self._store = store
        self._split = split
        self._shard = shard
        self._findings = findings
        self.tar = layout_release.release_tar("", split, shard)
        self.index = self._name(layout_release.INDEX)

    def run(self, with_images: bool, licences: Mapping[str, str]) -> None:
        """Check the tar and all tables.

        Args:
            with_images: whether the tar must hold the images.
            licences: the licence of each source.
        """
        stored = self._table(layout_release.INDEX, SampleRow)
        by_key = {row.key: row for row in stored}
        seen = set()
        for sample in read_samples(self._store, self.tar, self._findings):
            row = by_key.get(sample.key)
            if sample.key in seen:
                self._findings.add(self.tar, "its members are not adjacent", sample.key)
            elif row is None:
                self._findings.add(self.index, "no row for this sample of the tar", sample.key)
            else:
                self._check_sample(
                    sample,
                    row,
                    with_images,
                    licences,
                )
            seen.add(sample.key)
        for row in stored:
            if row.key not in seen:
                self._findings.add(self.tar, "the sample is missing", row.key)
        if len(by_key) < len(stored):
            self._findings.add(self.index, "a key has several rows")
        self._check_annotations()
        self._check_objects()
        self._check_lineage()

    def check_flags(self, safety: Safety) -> None:
        """Check the table of flags against the records; `run` comes first."""
        self.flags = self._table(layout_release.FLAGS, FlagRow)
        name = self._name(layout_release.FLAGS)
        for found in flag_problems(self.flags, self.records, safety):
            self._findings.add(name, found.problem, found.key)

    def _check_sample(
        self,
        sample: TarSample,
        row: SampleRow,
        with_images: bool,
        licences: Mapping[str, str],
    ) -> None:
        """Check the image and the record of one sample, and its row of the index."""
        if licences.get(row.source) != row.licence:
            problem = f"no source {row.source} with the licence {row.licence} in the release"
            self._findings.add(self.index, problem, row.key)
        record = self._record(sample)
        if record is None:
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
        stored = {}
        for row in self._table(layout_release.ANNOTATIONS, AnnotationRow):
            stored[row.key, row.id] = row
            if row.type == "text":
                texts[row.key, row.id] = row.text or ""
            for problem in row_problems(row, sizes.get(row.key), texts):
                self._findings.add(name, f"{row.id}: {problem}", row.key)
        expected = {}
        for record in self.records:
            for row in annotation_rows(record):
                expected[row.key, row.id] = row
        self._compare_all(name, stored, expected)

    def _check_objects(self) -> None:
        """Check the table of objects against the records."""
        name = self._name(layout_release.OBJECTS)
        stored = {}
        for row in self._table(layout_release.OBJECTS, ObjectsRow):
            stored[row.key, ""] = row
        expected = {}
        for record in self.records:
            expected[record.key, ""] = objects_row(record)
        self._compare_all(name, stored, expected)

    def _check_lineage(self) -> None:
        """Check that each annotation has its signals."""
        name = self._name(layout_release.LINEAGE)
        ids = set()
        for row in self._table(layout_release.LINEAGE, LineageRow):
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
        stored: Mapping[tuple[str, str], DataclassInstance],
        expected: Mapping[tuple[str, str], DataclassInstance],
    ) -> None:
        """Compare the rows of a table, by (key, id), with what follows from the records."""
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

    def _table(self, part: str, cls: type[T]) -> list[T]:
        """The rows of a table, none if it is broken."""
        return read_rows(
            self._store,
            self._name(part),
            cls,
            self._findings,
        )

    def _name(self, part: str) -> str:
        return layout_release.release_table(
            "",
            part,
            self._split,
            self._shard,
        )
