"""What decides the files of one shard of a release, and its digest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pipeline.plan.shard_state import ShardState
from pipeline.release.config import ReleaseConfig
from pipeline.release.lineage import Signals
from pipeline.release.notes import ROUND
from pipeline.release.selection import Decision
from pipeline.release.split import Cuts
from pipeline.storage import layout_release
from pipeline.storage.arrow import from_dict
from pipeline.storage.json_types import Json
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import digest
from pipeline.storage.store import Store

RELEASE = "release"
"""How the files of a release are called in the state of a shard."""
VERSION = 4
"""Raise it when the same inputs give other bytes or counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInputs:
    """What is the same for all shards."""

    folder: str
    """The folder of the release."""
    round: str
    """The folder of the round."""
    config: ReleaseConfig
    cuts: Mapping[str, Cuts]
    """Where each source is split."""
    signals: Sequence[Signals]
    """What the round was made of."""

    def digest(self, state: ShardState, decisions: Mapping[str, Decision]) -> str:
        """The digest of everything that decides the files of a shard.

        Name, version and title of the release are not in it: they are in the driver's files only.
        """
        recipe = {
            "version": VERSION,
            "images": self.config.images,
            "seed": self.config.seed,
            "blur": dict(self.config.blur),
            "personal_data": self.config.personal_data,
            "phone_regions": list(self.config.phone_regions),
            "sources": {name: asdict(terms) for name, terms in self.config.sources.items()},
            "cuts": {name: asdict(cuts) for name, cuts in self.cuts.items()},
            "signals": [asdict(node) for node in self.signals],
            "decisions": encode_decisions(decisions),
        }
        text = json.dumps(recipe, sort_keys=True)
        return digest(text, state.output(IMAGES), state.output(ROUND))


def encode_decisions(decisions: Mapping[str, Decision]) -> Json:
    """The decisions of a shard as plain JSON."""
    return {key: asdict(decision) for key, decision in decisions.items()}


def read_decisions(
    store: Store,
    folder: str,
    shard: str,
) -> dict[str, Decision]:
    """The decisions of a shard that the driver has written."""
    name = layout_release.decisions(folder, shard)
    if not store.exists(name):
        return {}
    return {key: from_dict(Decision, value) for key, value in store.read_json(name).items()}
