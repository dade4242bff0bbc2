"""Images that must not come in, because a list of the user names them (`source.refuse`).

In: the items of the source. Out: what is stored of them, or a failed row with a reason. An image is
found by its sha256 (of the file, and of the upright picture), by its perceptual hash, and by its
key or name. Only a perceptual hash needs the pixels; what a sha256 finds is never decoded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from pipeline.config.run import SourceConfig
from pipeline.ingest.known_sources import setting
from pipeline.ingest.repair import Receive
from pipeline.rows import ImageRow
from pipeline.storage.lists import Entries, entries_for, read_entries, references
from pipeline.storage.sources import key_of
from stages.base import SampleError
from stages.dedup import DedupConfig, Hashes, repeats_of
from stages.ingest import Accepted
from stages.source import Item

LISTED_HASH, LISTED_NAME = "listed_hash", "listed_name"
"""Why an image does not come in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What must not come in. It travels to the workers, which need not see the user's files."""

    entries: Entries = field(default_factory=Entries)
    distance: int = 0
    """Bits of 64 in which an image may differ from a perceptual hash of the lists."""
    setting: str = "source.refuse"
    """The setting that names the lists."""

    @classmethod
    def of(cls, config: SourceConfig, name: str = "") -> Refused:
        """What the lists of a source name; `name` is that of the source, if it has one.

        Raises:
            ValueError: a list cannot be read.
        """
        where = setting(name, "refuse")
        entries = read_entries(where, config.refuse)
        return cls(entries=entries, distance=config.refuse_distance, setting=where)

    def guard(self, shard: str, receive: Receive) -> Receive:
        """`receive` that raises `SampleError` for an image of a shard that must not come in."""
        if not self.entries:
            return receive
        return Guard(self, shard, receive)


class Guard:
    """Receives items that no list names."""

    def __init__(self, refused: Refused, shard: str, receive: Receive) -> None:
        self._entries = refused.entries
        self._setting = refused.setting
        self._shard = shard
        self._receive = receive
        self._config = DedupConfig(distance=refused.distance)
        self._references = references(Entries(phashes=refused.entries.phashes))
        self._hashes = Hashes(self._config)

    def __call__(self, item: Item) -> Accepted:
        """What to store of an item.

        Raises:
            SampleError: it cannot be used, or a list names it.
        """
        key = key_of(self._shard, item.key or item.name)
        # A name is refused before the file is looked at, and a sum before it is decoded.
        row = ImageRow(key=key, name=item.name, source_sha256=_sha256(item.data or b""))
        self._check(row)
        accepted = self._receive(item)
        self._check(ImageRow(key=key, name=item.name, sha256=_sha256(accepted.data)))
        if self._references:
            hashed = self._hashes("", [key], [accepted.data])
            for repeat in repeats_of(hashed, self._references, self._config):
                bits = f"differs in {repeat.distance:.0f} bits"
                raise SampleError(LISTED_HASH, f"{self._setting} names {repeat.kept}, {bits}")
        return accepted

    def _check(self, row: ImageRow) -> None:
        for entry in entries_for(row, self._entries):
            reason = LISTED_NAME if entry in self._entries.names else LISTED_HASH
            raise SampleError(reason, f"{self._setting} names {entry}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
