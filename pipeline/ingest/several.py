"""Ingest of the shards of all sources of a run. A worker opens a source with its first shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.run import SourceConfig
from pipeline.ingest.assignment import Shards, naming
from pipeline.ingest.refused import Refused
from pipeline.ingest.shard import Ingest
from pipeline.plan.shard_state import ShardState
from stages.base import StageError


@dataclass(frozen=True, slots=True)
class SourceWork:
    """What is to do of one source."""

    config: SourceConfig
    shards: Shards
    """The names of each shard that is to do."""
    refused: Refused


class IngestAll:
    """Brings in one shard per call, of whatever source it is."""

    def __init__(self, url: str, work: Mapping[str, SourceWork]) -> None:
        self.url = url
        self.work = work
        """By the name of the source."""
        self._open: dict[str, Ingest] = {}

    def __call__(self, shard: str, state: ShardState) -> ShardState:
        """Bring a shard in; returns its state with the images added."""
        name = next(name for name, work in self.work.items() if shard in work.shards)
        if name not in self._open:
            self._open[name] = self._opened(name)
        return self._open[name](shard, state)

    def _opened(self, name: str) -> Ingest:
        """What brings in the shards of a source.

        Raises:
            StageError: it cannot be opened here, for example because its files are on another
                machine; so none of its shards can be done.
        """
        work = self.work[name]
        try:
            with naming(name):
                return Ingest(self.url, work.config, work.shards, work.refused)
        except ValueError as error:
            raise StageError(str(error)) from error
