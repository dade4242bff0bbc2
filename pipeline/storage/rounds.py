"""The head, the state of each round, and how a round is opened by the name that a user gives."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.sources import read_sources

if TYPE_CHECKING:
    from pipeline.rows import Record
    from pipeline.storage.store import Store


Status = Literal["accepted", "rejected", "empty"]
"""What became of a round: what the gate decided, or that round 0 has no label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAttempt:
    """One attempted round of the chain, accepted or not."""

    round: str
    """NN-FINGERPRINT."""
    model: str | None
    """The folder of the model that refined it, None for round 0."""
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """`head.json`: the newest accepted round, and the chain that led to it."""

    round: str
    """NN-FINGERPRINT of the head."""
    model: str | None
    attempts: list[HeadAttempt]
    """Every attempted round, round 0 first."""

    @property
    def folder(self) -> str:
        return layout.named_round(self.round)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundState:
    """`round.json`: the gate's verdict on a round, and what the round was made with."""

    round: int
    parent: str | None
    """NN-FINGERPRINT of the head that it began with, None for round 0."""
    model: str | None
    models: list[str]
    """The folders of its models, one per fold."""
    status: Status
    reason: str
    evidence: Json
    """The numbers behind the verdict; `kind` says what they are."""
    levels: dict[str, Json] = field(default_factory=dict)
    """By kind of annotation, the thresholds that its merge measured
    (`refinement.rules.Thresholds`)."""


def read_head(store: Store) -> Head | None:
    """The head, None before the first run has ended."""
    if not store.exists(layout.HEAD):
        return None
    value = store.read_json(layout.HEAD)
    attempts = [HeadAttempt(**attempt) for attempt in value["attempts"]]
    return Head(**{**value, "attempts": attempts})


def publish_head(store: Store, head: Head) -> None:
    """Write `head.json`."""
    store.publish_json(layout.HEAD, asdict(head))


def read_round_state(store: Store, folder: str) -> RoundState | None:
    """The state of a round, None before the gate has judged it."""
    name = layout.round_state(folder)
    return RoundState(**store.read_json(name)) if store.exists(name) else None


def publish_round_state(store: Store, folder: str, state: RoundState) -> None:
    """Write `round.json`."""
    store.publish_json(layout.round_state(folder), asdict(state))


@dataclass(frozen=True, slots=True)
class OpenRound:
    """A finished round: its work folder, and its own folder in that."""

    store: Store
    folder: str
    image_source: str = ""
    """Only the samples of this source of images count; "" for all."""

    @property
    def name(self) -> str:
        """NN-FINGERPRINT."""
        return layout.round_name(self.folder)

    @property
    def url(self) -> str:
        return f"{self.store.url}/{self.folder}"

    def shards(self) -> list[str]:
        """The shards of the round, in alphabetical order."""
        shards = sorted(self.store.done(self.folder))
        if not self.image_source:
            return shards
        work = read_sources(self.store)
        return [shard for shard in shards if work.of(shard) == self.image_source]

    def read(self, shard: str) -> list[Record]:
        """The records of one shard."""
        from pipeline.rows import Record
        from pipeline.storage.parquet import read_table

        return read_table(self.store, layout.round_table(self.folder, shard), Record)

    def records(self) -> Iterator[Record]:
        """The records of all shards."""
        for shard in self.shards():
            yield from self.read(shard)


def open_round(url: str, image_source: str = "") -> OpenRound:
    """The round that `url` names: WORK/rounds/NN-FINGERPRINT, or WORK for its head.

    With `image_source` only its samples of one source of images.

    Raises:
        ValueError: there is no finished round, or no such source.
    """
    from pipeline.storage.store import Store

    split = layout.split_round(url)
    if split:
        work, folder = split
        store = Store(work)
    else:
        store = Store(url)
        head = read_head(store)
        if head is None:
            raise ValueError(
                f"{url}: no round there; give WORK/rounds/NN-.. or a WORK with a finished run"
            )
        folder = head.folder
    if not store.done(folder):
        raise ValueError(f"{url}: no finished round there")
    _check_image_source(store, image_source)
    return OpenRound(store, folder, image_source)


def _check_image_source(store: Store, name: str) -> None:
    named = read_sources(store).named
    if not name or name in named:
        return
    if not named:
        raise ValueError(
            f"--image-source {name}: {store.url} has a single source without a name; leave it out"
        )
    near = difflib.get_close_matches(name, named, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(named)}"
    raise ValueError(f"--image-source {name}: {store.url} has no images of this source; {hint}")
