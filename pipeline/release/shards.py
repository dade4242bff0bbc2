"""The files of one shard of a release, made by the workers.

In: the records of the round, the images, and what the driver decided. Out: for each split of the
shard a tar and four tables, one table of what is left out, and the counts. The bytes depend on
these inputs alone, so a takedown changes no other shard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from pipeline.plan.shard_state import ShardState
from pipeline.release.content import LeftOut
from pipeline.release.flow import ShardFlow
from pipeline.release.lineage import LineageRow, lineage_rows, makers_in
from pipeline.release.notes import ROUND
from pipeline.release.released import Released, Releasing
from pipeline.release.selection import Decision
from pipeline.release.shard_inputs import RELEASE, ShardInputs, read_decisions
from pipeline.release.split import place_of
from pipeline.release.statistics import Counts, encoded
from pipeline.release.survey import source_of
from pipeline.release.tables import (
    SAMPLE,
    TYPES,
    AnnotationRow,
    FlagRow,
    ObjectsRow,
    Place,
    RemovedRow,
    SampleRow,
    annotation_rows,
    objects_row,
    sample_row,
)
from pipeline.rows import ImageRow, Record
from pipeline.storage import layout, layout_release
from pipeline.storage.arrow import T, to_dict
from pipeline.storage.files import Sink
from pipeline.storage.images import read_image_bytes, read_images
from pipeline.storage.json_types import Json
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import FileDigest, Manifest
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.sources import read_sources
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter


@dataclass(slots=True)
class _Part:
    """What of a shard is in one split."""

    split: str
    sink: Sink
    tar: TarWriter
    records: list[Record] = field(default_factory=list)
    rows: list[SampleRow] = field(default_factory=list)
    flags: list[FlagRow] = field(default_factory=list)


class ReleaseShard:
    """Writes the files of one shard per call; knows no Ray."""

    def __init__(self, url: str, inputs: ShardInputs) -> None:
        self.store = Store(url)
        self.inputs = inputs

    def __call__(self, shard: str, state: ShardState) -> ShardState:
        """Write a shard; returns its state with the release added."""
        decisions = read_decisions(self.store, self.inputs.folder, shard)
        work = _Work(
            self.store,
            self.inputs,
            shard,
            decisions,
        )
        work.write()
        flow = work.flow()
        manifest = Manifest(
            shard=shard,
            inputs=self.inputs.digest(state, decisions),
            files=work.files,
            samples=flow.samples(),
            annotations=flow.annotations(),
            reads={IMAGES: state.output(IMAGES), ROUND: state.output(ROUND)},
        )
        folder = layout_release.build_folder(self.inputs.folder)
        self.store.publish_manifest(folder, manifest)
        return state.with_(RELEASE, manifest.digests)


class _Work:
    """One shard while it is written. The records are in memory, the images pass one by one."""

    def __init__(
        self,
        store: Store,
        inputs: ShardInputs,
        shard: str,
        decisions: Mapping[str, Decision],
    ) -> None:
        self.files: dict[str, FileDigest] = {}
        self._store = store
        self._inputs = inputs
        self._shard = shard
        self._sources = read_sources(store)
        self._decisions = decisions
        table = layout.round_table(inputs.round, shard)
        self._records: list[Record] = read_table(store, table, Record)
        self._parts: dict[str, _Part] = {}
        self._removed: list[RemovedRow] = []
        self._releasing = Releasing(inputs.config)

    def write(self) -> None:
        """Publish all files of the shard but its manifest."""
        images = read_images(self._store, self._shard)
        with ExitStack() as stack:
            pictures = read_image_bytes(self._store, self._shard)
            for record, image, data in zip(
                self._records,
                images,
                pictures,
                strict=True,
            ):
                assert record.key == image.key, f"{self._shard}: the round has other samples"
                self._write_sample(
                    record,
                    image,
                    data,
                    stack,
                )
            for part in self._parts.values():
                part.tar.close()
        for part in self._parts.values():
            name = layout_release.release_tar(self._inputs.folder, part.split, self._shard)
            self.files[name] = part.sink.digest
        self._write_tables()

    def flow(self) -> ShardFlow:
        """What became of the samples and their annotations, once all are written."""
        released: list[Record] = []
        for part in self._parts.values():
            released += part.records
        return ShardFlow(self._records, released, self._removed)

    def _write_sample(
        self,
        record: Record,
        image: ImageRow,
        data: bytes,
        stack: ExitStack,
    ) -> None:
        """Put a sample into the tar of its split, or note why it is in none."""
        name = self._sources.full_name(self._shard, record.name)
        source = source_of(name, self._inputs.config.sources)
        assert source is not None, f"{record.name}: the survey has found no licence"
        decision = self._decisions.get(record.key, Decision())
        if decision.removed:
            self._leave_out(record, decision.removed)
            return
        place = place_of(record.key, self._inputs.config.seed)
        split = decision.split or self._inputs.cuts[source].split_of(place)
        part = self._part(split, stack)
        released = self._releasing(record, image, data)
        self._removed += _removed_rows(released)
        part.records.append(released.record)
        part.flags += released.flags
        members = {"json": encode_record(released.record)}
        if self._inputs.config.images == "include":
            members = {released.extension: released.data, **members}
        *before, written = part.tar.write(record.key, members)
        place_in_tar = Place(
            shard=self._shard,
            split=split,
            source=source,
            licence=self._inputs.config.sources[source].licence,
            image=before[0] if before else None,
            record=written,
        )
        row = sample_row(released.record, place_in_tar)
        part.rows.append(row)

    def _leave_out(self, record: Record, reason: str) -> None:
        row = RemovedRow(
            key=record.key,
            type=SAMPLE,
            id=None,
            reason=reason,
        )
        self._removed.append(row)

    def _part(self, split: str, stack: ExitStack) -> _Part:
        """The files of a split, begun with its first sample."""
        if split not in self._parts:
            name = layout_release.release_tar(self._inputs.folder, split, self._shard)
            sink = stack.enter_context(self._store.publishing(name))
            self._parts[split] = _Part(split, sink, TarWriter(sink))
        return self._parts[split]

    def _write_tables(self) -> None:
        folder, shard = self._inputs.folder, self._shard
        makers = makers_in(self._store, self._inputs.signals, shard)
        counts: Json = {}
        for split in sorted(self._parts):
            part = self._parts[split]
            lineage = lineage_rows(part.records, makers)
            self._write_part(part, lineage)
            counts[split] = encoded(part_counts(part.records, part.rows, part.flags))
        self._publish(layout_release.removed_table(folder, shard), RemovedRow, self._removed)
        rest = Counts()
        rest.add_removed(self._removed)
        counts[""] = encoded(rest)
        name = layout_release.counts(folder, shard)
        self.files[name] = self._store.publish_json(name, counts)

    def _write_part(self, part: _Part, lineage: Sequence[LineageRow]) -> None:
        """Publish the tables of one split."""
        annotations = []
        objects = []
        for record in part.records:
            annotations += annotation_rows(record)
            objects.append(objects_row(record))

        def table(name: str) -> str:
            folder = self._inputs.folder
            return layout_release.release_table(
                folder,
                name,
                part.split,
                self._shard,
            )

        self._publish(table(layout_release.INDEX), SampleRow, part.rows)
        self._publish(table(layout_release.ANNOTATIONS), AnnotationRow, annotations)
        self._publish(table(layout_release.OBJECTS), ObjectsRow, objects)
        self._publish(table(layout_release.LINEAGE), LineageRow, lineage)
        self._publish(table(layout_release.FLAGS), FlagRow, part.flags)

    def _publish(self, name: str, cls: type[T], rows: Sequence[T]) -> None:
        """Publish one table."""
        self.files[name] = publish_table(
            self._store,
            name,
            cls,
            rows,
        )


def encode_record(record: Record) -> bytes:
    """`KEY.json` of a record."""
    return json.dumps(to_dict(record), ensure_ascii=False, separators=(",", ":")).encode()


def part_counts(
    records: Sequence[Record],
    rows: Sequence[SampleRow],
    flags: Sequence[FlagRow],
) -> Counts:
    """The counts of the samples of a shard that are in one split."""
    counts = Counts()
    for record, row in zip(records, rows, strict=True):
        counts.add(record, row)
    if rows:
        counts.add_flags(rows[0].split, flags)
    return counts


def _removed_rows(released: Released) -> list[RemovedRow]:
    """The rows for the annotations of a released sample that are left out."""

    def row(left_out: LeftOut) -> RemovedRow:
        return RemovedRow(
            key=released.record.key,
            type=TYPES[left_out.kind],
            id=left_out.id,
            reason=left_out.reason,
        )

    return [row(left_out) for left_out in released.left_out]
