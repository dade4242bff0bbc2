"""Manifests: the sign that a shard is done, with digests and counts."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TypedDict

from pipeline.schema import KINDS, Annotations
from pipeline.storage.json_types import Json

# `in` is a keyword of Python, so these two cannot be written as classes.
SampleFlow = TypedDict(
    "SampleFlow", {"in": int, "kept": int, "dropped": dict[str, int], "failed": dict[str, int]}
)
"""How many samples went into a stage, and what became of them; `dropped` and `failed` by reason."""
AnnotationFlow = TypedDict("AnnotationFlow", {"in": int, "kept": int, "dropped": dict[str, int]})
"""The same of the annotations of one kind, which cannot fail."""

DIGEST_LENGTH = 12
WITHOUT_FAILURES = "-0.json"
"""How the name of a manifest ends if no sample failed."""
_FILE_NAME = re.compile(
    r"(?P<shard>[^.]+)\.(?P<inputs>[^.-]+)-(?P<output>[^.-]+)\.(?P<given>\d+)-(?P<failed>\d+)\.json"
)


@dataclass(frozen=True, slots=True)
class Digests:
    """What a node read and wrote on one shard."""

    inputs: str
    """Digest of the outputs that the node read."""
    output: str
    """Digest of the files that the node wrote."""


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """How many samples of a shard went into a stage, and how many of them failed."""

    given: int
    failed: int


@dataclass(frozen=True, slots=True)
class FileDigest:
    """The content of a published file."""

    sha256: str
    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True)
class ManifestName:
    """What the name of a manifest says. A listing of a folder thus tells what is done, unread."""

    file: str
    shard: str
    digests: Digests
    counts: SampleCounts

    @staticmethod
    def of(shard: str, digests: Digests, counts: SampleCounts) -> str:
        """The file name of a manifest; `parse` reads it."""
        content = f"{digests.inputs}-{digests.output}"
        return f"{shard}.{content}.{counts.given}-{counts.failed}.json"

    @classmethod
    def parse(cls, file: str) -> ManifestName | None:
        """The parts of a file name, None when no manifest has such a name."""
        match = _FILE_NAME.fullmatch(file)
        if match is None:
            return None
        shard, inputs, output, given, failed = match.groups()
        digests = Digests(inputs, output)
        counts = SampleCounts(int(given), int(failed))
        # A shard has a manifest in many folders, and its name is kept once.
        return cls(file, sys.intern(shard), digests, counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The sign that a stage has done a shard: what it read, wrote and counted.

    A manifest holds no clocks, hosts or attempts, so the same work gives the same bytes.
    """

    shard: str
    inputs: str
    """Digest of what was read; `Digests.inputs`."""
    files: dict[str, FileDigest]
    """The files that were written, by their names in the work folder."""
    samples: SampleFlow
    """Counts of samples: in = kept + dropped + failed, the latter two by reason."""
    annotations: dict[str, AnnotationFlow] = field(default_factory=dict)
    """Counts of annotations by kind, with the same equation."""
    reads: dict[str, str] = field(default_factory=dict)
    """The output digest of each thing that was read: `images`, or the name of a node."""

    @property
    def output(self) -> str:
        """Digest of all files that were written."""
        return digest(*(self.files[name].sha256 for name in sorted(self.files)))

    @property
    def digests(self) -> Digests:
        return Digests(self.inputs, self.output)

    @property
    def name(self) -> str:
        """The name of the manifest's file; `ManifestName` reads it."""
        failed = sum(self.samples["failed"].values())
        counts = SampleCounts(self.samples["in"], failed)
        return ManifestName.of(self.shard, self.digests, counts)

    def encode(self) -> bytes:
        """The bytes of the manifest's file. They contain a digest of the rest."""
        body = asdict(self)
        check = digest(json_bytes(body).decode())
        return json_bytes({**body, "check": check})

    @classmethod
    def from_json(cls, value: Json) -> Manifest:
        """The manifest of plain values, as `asdict` makes them."""
        files = {name: FileDigest(**file) for name, file in value["files"].items()}
        return cls(**{**value, "files": files})

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The manifest in a file.

        Raises:
            ValueError: the bytes are not those that `encode` made.
        """
        try:
            value = json.loads(data)
            del value["check"]
            manifest = cls.from_json(value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from None
        if manifest.encode() != data:
            raise ValueError("not the manifest that was written")
        return manifest

    def lost(self) -> str:
        """A sentence about samples or annotations that went in and did not come out, or ""."""
        went_in = {"samples": self.samples["in"]}
        came_out = {"samples": _came_out(self.samples) + sum(self.samples["failed"].values())}
        for kind, flow in self.annotations.items():
            went_in[kind] = flow["in"]
            came_out[kind] = _came_out(flow)
        for what, count in went_in.items():
            if came_out[what] != count:
                return f"{self.shard}: {what} went in {count} and came out {came_out[what]}"
        return ""


def _came_out(flow: SampleFlow | AnnotationFlow) -> int:
    """How many were kept or dropped."""
    return flow["kept"] + sum(flow["dropped"].values())


def digest(*parts: str) -> str:
    """A short digest of strings: 48 bits of sha256. Each part is hashed with its length."""
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def count_samples(given: int, failed: Sequence[str | None]) -> SampleFlow:
    """The counts of a manifest's samples.

    `given` samples went in. `failed` has one entry per sample that came out: the reason why it
    failed, or None.
    """
    reasons = Counter(reason for reason in failed if reason is not None)
    kept = len(failed) - reasons.total()
    return {"in": given, "kept": kept, "dropped": {}, "failed": dict(reasons)}


def count_annotations(samples: Sequence[Annotations]) -> dict[str, AnnotationFlow]:
    """The counts of a manifest's annotations, by kind: in, kept, and dropped by reason."""
    counts: dict[str, AnnotationFlow] = {}
    for kind in KINDS:
        kept = 0
        dropped: Counter[str] = Counter()
        for sample in samples:
            for annotation in getattr(sample, kind):
                if annotation.dropped is None:
                    kept += 1
                else:
                    dropped[annotation.dropped] += 1
        counts[kind] = {"in": kept + dropped.total(), "kept": kept, "dropped": dict(dropped)}
    return counts


def json_bytes(value: object) -> bytes:
    """JSON as every file of a work folder has it: sorted keys, one space of indent."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
