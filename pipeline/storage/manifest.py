"""Manifests: the sign that a shard is done, with digests and counts."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.schema import KINDS, Annotations


def count_samples(given: int, failed: Sequence[str | None]) -> dict[str, Any]:
    """`given` samples went in; `failed` has a reason or None for each that came out."""
    reasons = Counter(failed)
    kept = reasons.pop(None, 0)
    return {"in": given, "kept": kept, "dropped": {}, "failed": dict(reasons)}


def count_annotations(samples: Sequence[Annotations]) -> dict[str, dict[str, Any]]:
    """Per kind: in, kept, and dropped by reason."""
    counts = {}
    for kind in KINDS:
        fates = Counter(a.dropped for sample in samples for a in getattr(sample, kind))
        kept = fates.pop(None, 0)
        counts[kind] = {"in": kept + fates.total(), "kept": kept, "dropped": dict(fates)}
    return counts


DIGEST_LENGTH = 12
MANIFEST = re.compile(
    r"(?P<shard>[^.]+)\.(?P<inputs>[^.-]+)-(?P<output>[^.-]+)\.(?P<given>\d+)-(?P<failed>\d+)\.json"
)


def digest(*parts: str) -> str:
    """The short digest that names recipes' inputs and outputs: 48 bits of sha256 over length-prefixed parts."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(f"{len(part)}:{part}".encode())
    return hasher.hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The sign that a stage has done a shard: what it read, wrote and counted. Holds no clocks, hosts or attempts.

    `samples` and `annotations` obey in = kept + dropped + failed (`lost`); `files` maps names relative to the work
    folder to sha256 and size in bytes; `reads` maps what was read (`images`, names of nodes) to its output digest.
    Its name holds the digests and counts, so that a listing tells what is done and how many samples failed.
    """

    shard: str
    inputs: str
    files: dict[str, dict[str, Any]]
    samples: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, Any] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)

    @property
    def output(self) -> str:
        return digest(*(file["sha256"] for _, file in sorted(self.files.items())))

    @property
    def name(self) -> str:
        given, failed = self.samples["in"], sum(self.samples["failed"].values())
        return f"{self.shard}.{self.inputs}-{self.output}.{given}-{failed}.json"

    def encode(self) -> bytes:
        """The file's bytes, with a digest of the rest in them."""
        body = asdict(self)
        return _json_bytes({**body, "check": digest(_json_bytes(body).decode())})

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Raises:
        ValueError: these are not the bytes that were written.
        """
        try:
            value = json.loads(data)
            del value["check"]
            manifest = cls(**value)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"not a manifest: {error}") from None
        if manifest.encode() != data:
            raise ValueError("not the manifest that was written")
        return manifest

    def lost(self) -> str:
        """What went in and did not come out, '' when all did."""
        for what, count in {"samples": self.samples, **self.annotations}.items():
            total = (
                count["kept"]
                + sum(count["dropped"].values())
                + sum(count.get("failed", {}).values())
            )
            if total != count["in"]:
                return f"{self.shard}: {what} went in {count['in']} and came out {total}"
        return ""


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
