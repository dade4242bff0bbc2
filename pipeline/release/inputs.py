"""What a release is made from: the round, the lists of the user, the audit that must be good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.quality.audit import ALL_SOURCES, AuditRow
from pipeline.release.config import ReleaseConfig
from pipeline.release.lists import keys_of_urls, read_evaluation
from pipeline.storage import layout
from pipeline.storage.lists import Entries, check_method, read_entries
from pipeline.storage.rounds import open_round
from pipeline.storage.store import Store
from stages.dedup import Hashed


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLists:
    """The lists of the user, read."""

    splits: Mapping[str, Entries]
    """The samples of each split that a list names."""
    takedown: Entries
    urls: Mapping[str, str]
    """The URLs of `takedown`, by the keys that the URL tables give them."""
    evaluation: Sequence[Hashed]
    """The hashes of all evaluation images."""
    evaluation_sets: dict[str, int]
    """How many images each evaluation set has, by the last part of its path."""

    def digest(self) -> str:
        """The digest of all entries, whatever files they came from."""
        parts: list[str] = []
        for split, entries in self.splits.items():
            parts.append(split)
            parts += entries.all()
        parts.append("takedown")
        parts += self.takedown.all()
        for key in sorted(self.urls):
            parts.append(f"{key} {self.urls[key]}")
        for row in self.evaluation:
            parts.append(f"{row.key} {row.sha256} {row.hash} {row.embedding}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_lists(config: ReleaseConfig, refused: Sequence[str] = ()) -> UserLists:
    """Read all lists that the settings name.

    `refused` are the lists of what must not come in (`source.refuse`). What came in before they
    named it is taken down.

    Raises:
        ValueError: one cannot be read.
    """
    splits = {}
    for split, file in config.split_lists.items():
        splits[split] = read_entries(f"split_lists.{split}", [file])
    takedown = read_entries("takedown", (*config.takedown, *refused))
    check_method("takedown", takedown, config.dedup.method)
    urls = frozenset(name for name in takedown.names if "://" in name)
    evaluation: list[Hashed] = []
    sets: dict[str, int] = {}
    for place in config.evaluation:
        rows = read_evaluation(place, config.dedup)
        evaluation += rows
        name = place.rstrip("/").rpartition("/")[2]
        sets[name] = sets.get(name, 0) + len(rows)
    return UserLists(
        splits=splits,
        takedown=takedown,
        urls=keys_of_urls(config.url_tables, urls) if urls else {},
        evaluation=evaluation,
        evaluation_sets=sets,
    )


def released_round(store: Store, config: ReleaseConfig) -> str:
    """The folder of the round to release.

    Raises:
        ValueError: there is no such finished round.
    """
    url = store.url
    if config.round:
        url = f"{store.url}/{layout.named_round(config.round)}"
    return open_round(url).folder


def check_precision(audit: Sequence[AuditRow], wanted: Iterable[tuple[str, float]]) -> None:
    """Check that people have found the labels good enough: (type, least precision) of each type.

    Raises:
        ValueError: the lower end of an interval is too low, or nobody has judged a type.
    """
    for type_, least in wanted:
        rows = [row for row in audit if row["type"] == type_ and row["source"] == ALL_SOURCES]
        if not rows:
            raise ValueError(
                f"min_precision.{type_}={least:g}: nobody has judged any; use `fld audit`"
            )
        low = rows[0]["low"]
        if low < least:
            raise ValueError(
                f"min_precision.{type_}={least:g}: the precision is {rows[0]['precision']:.3f}, "
                f"and with 95% confidence at least {low:.3f}; judge more, or improve the labels"
            )
