"""`fld verify`: every manifest against its files.

A plain check looks at names and sizes. A deep one reads every byte: the sha256 of each file, the
rows of each table, and each sample of each tar through its index. Files that have no manifest
(assignments, settings, metrics) are parsed.

The manifest of a broken file is withdrawn, so that `fld run` makes the file again: signals and
rounds from what they were made of, images from what is left of their tar and from the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from pipeline.config import saved
from pipeline.maintenance.verify_content import check_content
from pipeline.storage import layout, layout_dedup
from pipeline.storage.checks import problem_of
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Manifest, ManifestName
from pipeline.storage.parquet import parse_parquet
from pipeline.storage.store import Store
from pipeline.storage.threads import mapped

MAX_PROBLEM = 200
"""Characters of a problem's text."""
Action = Literal["withdraw", "remove", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One broken file."""

    file: str
    problem: str
    action: Action
    """What repairs it. `withdraw`: the manifest of `shard` in `folder` is withdrawn. `remove`: the
    file is removed, because every run writes it again. `keep`: nothing could make it again."""
    folder: str = ""
    shard: str = ""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked, and what is broken."""

    files: int
    size: int
    """Of all checked files with a manifest, in bytes."""
    problems: list[Problem]


@dataclass(frozen=True, slots=True)
class ManifestPlace:
    """One file among the manifests of a folder."""

    folder: str
    name: str
    """Its file name."""


@dataclass(frozen=True, slots=True)
class CheckedManifest:
    """One manifest, and what is broken of its files."""

    manifest: Manifest | None
    """None if the manifest itself is broken."""
    problems: list[Problem] = field(default_factory=list)


def _no_progress(done: int, total: int) -> None:
    """For callers of `verify` that show no progress."""


def verify(
    store: Store,
    deep: bool,
    advance: Callable[[int, int], None] = _no_progress,
) -> VerifyReport:
    """All problems of a work folder. `advance` is called with the manifests done and in all."""

    def check(place: ManifestPlace) -> CheckedManifest:
        return _check_manifest(store, place, deep)

    names = {folder: store.list(layout.manifests(folder)) for folder in folders(store)}
    total = sum(map(len, names.values()))
    files = size = 0
    problems: list[Problem] = []
    for number, checked in enumerate(mapped(check, _places(names)), 1):
        if checked.manifest is not None:
            files += len(checked.manifest.files)
            size += sum(file.size for file in checked.manifest.files.values())
        problems += checked.problems
        advance(number, total)
    for name in _without_manifest(store):
        files += 1
        problems += _check_readable(store, name)
    return VerifyReport(files, size, problems)


def withdraw(store: Store, problems: list[Problem]) -> None:
    """Withdraw or remove what claims that broken files are good."""
    shards: dict[str, dict[str, tuple[str, ...]]] = {}
    for problem in problems:
        if problem.action == "withdraw":
            shards.setdefault(problem.folder, {})[problem.shard] = ()
        elif problem.action == "remove":
            store.remove(problem.file)
            _remove_counts(store, problem.file)
    for folder, broken in shards.items():
        store.withdraw(folder, broken)


def folders(store: Store) -> list[str]:
    """All folders that have manifests."""
    found = [IMAGES]
    for kind in layout.STAGED:
        found += [layout.within(kind, name) for name in store.list(kind)]
    return found


def _places(names: Mapping[str, Sequence[str]]) -> Iterator[ManifestPlace]:
    """One place after the other, of the names of manifests by folder."""
    for folder, files in names.items():
        for file in files:
            yield ManifestPlace(folder, file)


def _remove_counts(store: Store, table: str) -> None:
    """Remove the counts of a broken table.

    They are written after the table, so a run takes them for the sign that the table is there.
    """
    folder = table.rpartition("/")[0]
    if table == layout_dedup.dedup_groups(folder):
        store.remove(layout_dedup.dedup_summary(folder))


def _check_manifest(store: Store, place: ManifestPlace, deep: bool) -> CheckedManifest:
    """Check one manifest and its files."""
    folder = place.folder
    path = layout.manifest(folder, place.name)
    if ManifestName.parse(place.name) is None:
        return _broken_manifest(path, "no manifest has such a name")
    try:
        manifest = Manifest.decode(store.read(path))
    except ValueError as error:
        return _broken_manifest(path, str(error))
    found = {}
    for file, expected in manifest.files.items():
        found[file] = problem_of(store, file, expected, deep)
    if deep and not any(found.values()):
        found = check_content(store, folder, manifest)
    result = CheckedManifest(manifest)
    for file, text in found.items():
        if not text:
            continue
        problem = Problem(
            file=file,
            problem=text,
            action="withdraw",
            folder=folder,
            shard=manifest.shard,
        )
        result.problems.append(problem)
    return result


def _broken_manifest(path: str, text: str) -> CheckedManifest:
    """The result for a file that is no manifest."""
    problem = Problem(
        file=path,
        problem=text,
        action="remove",
    )
    return CheckedManifest(None, [problem])


def _without_manifest(store: Store) -> Iterator[str]:
    """Published files that no manifest describes."""
    for name in store.list(layout.LISTING):
        yield layout.in_listing(name)
    for name in store.list(layout.DEDUP):
        folder = layout_dedup.dedup_folder(name)
        if store.exists(layout_dedup.dedup_summary(folder)):
            yield layout_dedup.dedup_summary(folder)
            yield layout_dedup.dedup_groups(folder)
    others = [
        layout.CONFIG,
        layout.SOURCE,
        layout.HEAD,
        layout_dedup.DEDUP_LATEST,
    ]
    names = [layout.name_of_source(file) for file in store.list(layout.SOURCES)]
    others += [layout.named_source(name) for name in names]
    others += [layout.source_ids(stem) for stem in (layout.STEM, *names)]
    for name in store.list(layout.ROUNDS):
        folder = layout.named_round(name)
        others.append(layout.round_metrics(folder))
        others.append(layout.round_state(folder))
        others.append(layout.round_statistics(folder))
        others.append(layout.round_parts(folder))
    yield from filter(store.exists, others)


def _check_readable(store: Store, name: str) -> list[Problem]:
    """The problem of a file that cannot be parsed, if any."""
    try:
        if name == layout.CONFIG:
            saved.values(store)
        elif name.endswith(layout.JSON_SUFFIX):
            store.read_json(name)
        else:
            parse_parquet(store.read(name), verify=True)
    except (ValueError, pa.ArrowException, OSError) as error:
        one_line = " ".join(str(error).split())
        is_kept = name == layout.CONFIG or name.startswith(layout.LISTING)
        problem = Problem(
            file=name,
            problem=f"unreadable: {one_line}"[:MAX_PROBLEM],
            action="keep" if is_kept else "remove",
        )
        return [problem]
    return []
