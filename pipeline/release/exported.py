"""The samples that an export writes: of a round in a work folder, or of a release.

Both give the same stream of records with their images, one shard after the other, so that no
export but COCO's holds more than a shard of records and one image. Kept labels only, as a release
has them (`content.py`): boxes lie inside of the image, which is the upright one that is stored.
COCO's export has crowds, too.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipeline.release.config import TRAIN
from pipeline.release.content import content_of
from pipeline.release.facts import read_facts
from pipeline.rows import Record
from pipeline.schema import KINDS
from pipeline.storage import layout, layout_release
from pipeline.storage.arrow import from_dict
from pipeline.storage.images import read_image_bytes, read_images
from pipeline.storage.rounds import OpenRound, open_round
from pipeline.storage.store import Store
from pipeline.storage.tars import read_tar

RECORD = "json"
"""The extension of a record in a tar."""


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of one shard that are in one split."""

    split: str
    shard: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as it is stored."""

    data: bytes
    extension: str
    """Of its file, without the dot."""


@dataclass(frozen=True, slots=True)
class ExportSample:
    """One sample that is exported."""

    record: Record
    """With the labels that are exported."""
    picture: Picture
    split: str

    @property
    def file(self) -> str:
        """The name of its image file. Keys are unique, while names may lie in several folders."""
        return f"{self.record.key}.{self.picture.extension}"


class Labelled(Protocol):
    """What can be exported."""

    @property
    def name(self) -> str:
        """NN-FINGERPRINT of the round, or NAME-VERSION of the release."""

    @property
    def origin(self) -> OpenRound | None:
        """The round whose labels it has, None if that is not at hand: ids are counted there."""

    def parts(self) -> list[Part]:
        """All parts, in a stable order."""

    def records(self) -> Iterator[Record]:
        """The records of all parts, as they are stored."""

    def pairs(self, part: Part) -> Iterator[tuple[Record, Picture]]:
        """The records of a part with their images."""


@dataclass(frozen=True, slots=True)
class LabelledRound:
    """A round of a work folder; all of it is one split."""

    opened: OpenRound

    @property
    def name(self) -> str:
        return self.opened.name

    @property
    def origin(self) -> OpenRound:
        return self.opened

    def parts(self) -> list[Part]:
        return [Part(TRAIN, shard) for shard in self.opened.shards()]

    def records(self) -> Iterator[Record]:
        return self.opened.records()

    def pairs(self, part: Part) -> Iterator[tuple[Record, Picture]]:
        store = self.opened.store
        records = {record.key: record for record in self.opened.read(part.shard)}
        rows = read_images(store, part.shard)
        for row, data in zip(rows, read_image_bytes(store, part.shard), strict=True):
            extension = str(row.member).partition(".")[2]
            yield records[row.key], Picture(data, extension)


@dataclass(frozen=True, slots=True)
class LabelledRelease:
    """The folder of a release, wherever it lies."""

    store: Store
    """The folder itself."""

    @property
    def name(self) -> str:
        return self.store.root.rpartition("/")[2]

    @property
    def origin(self) -> OpenRound | None:
        work, _, folder = self.store.url.rpartition("/")[0].rpartition("/")
        if folder != layout_release.RELEASES:
            return None
        facts = read_facts(self.store.read(layout_release.FACTS))
        try:
            return open_round(f"{work}/{layout.named_round(facts.round)}")
        except ValueError:
            # The release was copied, or the round was cleaned away.
            return None

    def parts(self) -> list[Part]:
        parts = []
        shards = layout_release.part_folder("", layout_release.SHARDS)
        for split in self.store.list(shards):
            folder = layout_release.split_folder("", layout_release.SHARDS, split)
            for file in self.store.list(folder):
                shard = layout.shard_of_tar(file)
                if shard is not None:
                    parts.append(Part(split, shard))
        return parts

    def records(self) -> Iterator[Record]:
        for part in self.parts():
            for record, _ in self._members(part):
                yield record

    def pairs(self, part: Part) -> Iterator[tuple[Record, Picture]]:
        for record, members in self._members(part):
            if not members:
                raise ValueError(
                    f"{self.store.url}: the release has references to its images only, which this "
                    "format cannot use; give the round, or a release with images=include"
                )
            extension, data = members.popitem()
            if hashlib.sha256(data).hexdigest() != record.sha256:
                raise self._broken(part, f"{record.key} has other bytes than were released")
            yield record, Picture(data, extension)

    def _members(self, part: Part) -> Iterator[tuple[Record, dict[str, bytes]]]:
        """The record of each sample of a part, and its other files by extension.

        Raises:
            ValueError: the tar cannot be read.
        """
        with self.store.open(self._tar(part)) as file:
            try:
                for key, members in read_tar(file):
                    if RECORD not in members:
                        raise self._broken(part, f"{key} has no {key}.{RECORD}")
                    yield from_dict(Record, json.loads(members.pop(RECORD))), members
            except (tarfile.TarError, json.JSONDecodeError) as error:
                raise self._broken(part, str(error)) from error

    def _tar(self, part: Part) -> str:
        return layout_release.release_tar("", part.split, part.shard)

    def _broken(self, part: Part, problem: str) -> ValueError:
        """The error to raise where a tar is not the one that was released."""
        return ValueError(
            f"{self.store.url}/{self._tar(part)}: {problem}; get the file again, or release anew "
            f"(`fld release verify {self.store.url}` names all that is broken)"
        )


def open_labelled(url: str) -> Labelled:
    """The release in a folder, or else the round that `url` names.

    Raises:
        ValueError: there is neither.
    """
    store = Store(url)
    if store.exists(layout_release.FACTS):
        return LabelledRelease(store)
    return LabelledRound(open_round(url))


@dataclass(frozen=True, slots=True)
class Export:
    """What one export writes, and what it had to leave out."""

    labelled: Labelled
    sources: Sequence[str] = ()
    """Only labels of these sources; empty for all."""
    crowds: bool = False
    """Whether crowds are exported, too."""
    unusable: Counter[str] = field(default_factory=Counter)
    """Kept labels that no reader could use, by kind and reason."""
    foreign: Counter[str] = field(default_factory=Counter)
    """Labels that the format cannot hold, by kind."""

    def samples(self, part: Part | None = None) -> Iterator[ExportSample]:
        """The samples of a part, or of all."""
        parts = self.labelled.parts() if part is None else [part]
        for each in parts:
            for record, picture in self.labelled.pairs(each):
                yield ExportSample(self.counted(record), picture, each.split)

    def records(self) -> Iterator[Record]:
        """The records of all samples without their images."""
        for record in self.labelled.records():
            yield self._chosen(content_of(record, crowds=self.crowds).record)

    def counted(self, record: Record) -> Record:
        """A record with the labels that are exported; counts what no reader could use."""
        content = content_of(record, crowds=self.crowds)
        dropped = {label.id: label.dropped for label in record.annotations.all()}
        for left_out in content.left_out:
            if left_out.reason != dropped[left_out.id]:
                kind = left_out.kind.replace("_", " ")
                self.unusable[f"{kind} ({left_out.reason})"] += 1
        return self._chosen(content.record)

    def leave_out(self, record: Record, *kinds: str) -> None:
        """Count the labels of a sample that the format cannot hold.

        Args:
            record: with the labels that are exported.
            kinds: some of `KINDS`, or `masks`.
        """
        for kind in kinds:
            labels = getattr(record.annotations, kind, None)
            if labels is None:
                labels = [region for region in record.annotations.regions if region.mask]
            if labels:
                self.foreign[kind.replace("_", " ")] += len(labels)

    def warnings(self, format_: str) -> list[str]:
        """A line for each reason why labels were left out."""
        lines = []
        if self.foreign:
            listed = _listed(self.foreign)
            lines.append(f"{format_}: left out what the format cannot hold: {listed}")
        if self.unusable:
            listed = _listed(self.unusable)
            lines.append(f"{format_}: left out what no reader could use: {listed}")
        return lines

    def _chosen(self, record: Record) -> Record:
        """A record with the labels of the wanted sources."""
        if not self.sources:
            return record
        labels = record.annotations.where(lambda label: label.source in self.sources)
        return replace(record, annotations=labels)


def kinds_but(*kinds: str) -> list[str]:
    """All kinds of annotations but these."""
    return [kind for kind in KINDS if kind not in kinds]


def _listed(counts: Counter[str]) -> str:
    parts = []
    for name in sorted(counts):
        parts.append(f"{counts[name]} {name}")
    return ", ".join(parts)
