"""`release.json`: how a release was made, as far as its files cannot tell it by being counted.

The card and the Croissant metadata are made of these facts and of the counts alone. So anybody can
make them again and compare (`fld release verify`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config import saved
from pipeline.plan.recipe import content_hash
from pipeline.quality.audit import AuditRow, wilson
from pipeline.release.config import ReleaseConfig, SourceTerms
from pipeline.release.lineage import Signals
from pipeline.release.safety import Safety
from pipeline.schema import SCHEMA_VERSION
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.reviews import read_stands
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store

# A user name and a password in a URL.
_USER = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFact:
    """One round on the way to the released one."""

    round: str
    """NN-FINGERPRINT."""
    model: str | None
    """The folder of the model that refined it, None for round 0."""
    status: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFact:
    """What people said of boxes of machines in samples that were picked by chance."""

    round: str
    """NN-FINGERPRINT: the round whose boxes they saw."""
    samples: int
    judged: int
    """Boxes of machines in these samples."""
    right: int
    """Those that stood as they were."""

    @property
    def sentence(self) -> str:
        """What a reader should know of it."""
        low, high = wilson(self.right, self.judged)
        return (
            f"People reviewed {self.samples:,} samples of the round {self.round} that were picked "
            f"by chance. Of {self.judged:,} boxes of machines there, {self.right:,} stood as they "
            f"were: {self.right / self.judged:.1%}, 95% interval {low:.1%} to {high:.1%}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the samples were compared with, and how many were found."""

    duplicates: Json
    """The settings of the search, and `images` that repeat another by kind."""
    evaluation: dict[str, int]
    """Images of each evaluation set, by the last part of its path."""
    takedown: int
    """Entries of the takedown lists."""
    unmatched: int
    """Of these, entries that no sample fits."""
    safety: Safety
    """What else was looked for: listed images, scores, faces, personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`release.json`."""

    schema_version: int = SCHEMA_VERSION
    name: str
    version: str
    title: str
    description: str
    language: str
    date: str
    images: str
    """`include` or `reference`."""
    splits: dict[str, float]
    """The share of each split; `train` has the rest."""
    sources: dict[str, SourceTerms]
    round: str
    """NN-FINGERPRINT of the released round."""
    rounds: list[RoundFact]
    """All rounds of the run, round 0 first."""
    signals: list[str]
    """STAGE-FINGERPRINT of everything that the round was made of."""
    audit: list[AuditRow]
    """Precision by human judgement, with 95% intervals; empty if nobody has judged."""
    reviews: list[ReviewFact] = field(default_factory=list)
    """The same by reviews, for each round of which some samples were picked by chance."""
    truth: Json | None
    """Scores against truth by part of the samples, None if there is none."""
    checks: Checked
    inputs: str
    """Digest of all settings and labels. The same digest gives the same bytes."""

    def to_json(self) -> Json:
        """The content of the file."""
        return asdict(self)


def read_facts(text: bytes) -> Facts:
    """The facts in a file.

    Raises:
        ValueError: they are not those of a release.
    """
    from pipeline.storage.arrow import from_dict

    return from_dict(Facts, json.loads(text))


def gathered(
    store: Store,
    config: ReleaseConfig,
    folder: str,
    signals: Sequence[Signals],
    checks: Checked,
    inputs: str,
) -> Facts:
    """The facts of a release of the round in `folder`."""
    metrics = layout.round_metrics(folder)
    truth = store.read_json(metrics).get("truth") if store.exists(metrics) else None
    return Facts(
        name=config.name,
        version=config.version,
        title=config.title or config.name,
        description=config.description,
        language=config.language,
        date=config.date,
        images=config.images,
        splits=dict(config.splits),
        sources=dict(config.sources),
        round=layout.round_name(folder),
        rounds=_rounds(store),
        signals=[layout.signals_name(node.folder) for node in signals],
        audit=read_audit(store, folder),
        reviews=list(_reviews(store)),
        truth=truth,
        checks=checks,
        inputs=inputs,
    )


def read_audit(store: Store, folder: str) -> list[AuditRow]:
    """The precision of a round by human judgement, empty if nobody has judged."""
    name = layout.round_audit(folder)
    rows: Any = store.read_json_list(name) if store.exists(name) else []
    return list(rows)


def _reviews(store: Store) -> Iterator[ReviewFact]:
    """What reviews say of the boxes of machines, round by round."""
    for name, samples in sorted(read_stands(store).items()):
        judged = sum(stood.judged for stood in samples.values())
        right = sum(stood.right for stood in samples.values())
        if judged:
            yield ReviewFact(round=name, samples=len(samples), judged=judged, right=right)


def _rounds(store: Store) -> list[RoundFact]:
    head = read_head(store)
    facts = []
    for attempt in head.attempts if head else ():
        state = read_round_state(store, layout.named_round(attempt.round))
        facts.append(
            RoundFact(
                round=attempt.round,
                model=attempt.model,
                status=attempt.status,
                reason=state.reason if state else "",
            )
        )
    return facts


def settings_of(
    store: Store,
    config: ReleaseConfig,
    folder: str,
) -> Json:
    """The resolved settings of the run that began the round in `folder`, and of the release.

    What differs between machines is left out. Of a local path, the last part stands. A list that a
    user gave has the digest of its content.
    """
    run = saved.values(store, folder)
    run = {name: value for name, value in run.items() if name not in ("work", "cluster")}
    release = asdict(config)
    for name in ("evaluation", "takedown", "url_tables"):
        release[name] = [_with_digest(path) for path in release[name]]
    # The file of settings may hold one path or a list of paths.
    for name, source in saved.load(store, folder).all_sources.items():
        digests = [_with_digest(path) for path in source.refuse]
        if digests and name:
            values = {**run["sources"][name], "refuse": digests}
            run["sources"] = {**run["sources"], name: values}
        elif digests:
            run["source"] = {**run["source"], "refuse": digests}
    lists = release["split_lists"]
    release["split_lists"] = {split: _with_digest(path) for split, path in lists.items()}
    return {"run": _portable(run), "release": _portable(release)}


def _with_digest(path: str) -> Json:
    """A file or folder of the user, and the digest of its content if it is local."""
    return {"name": path.rstrip("/").rpartition("/")[2], "content": content_digest(path)}


def content_digest(path: str) -> str:
    """The digest of a local file or folder; of anything else, its name."""
    return content_hash(os.path.abspath(path)) if os.path.exists(path) else path


def _portable(value: Any) -> Any:
    """Plain values without local folders, and without names and passwords in URLs."""
    if isinstance(value, Mapping):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if not isinstance(value, str):
        return value
    if os.path.isabs(value):
        return value.rstrip("/").rpartition("/")[2]
    return _USER.sub("", value)
