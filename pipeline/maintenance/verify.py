"""Every manifest against its files: `fld verify`.

Plain, it looks at names and sizes; deep, it reads every byte: sha256 of each file, the rows of each table, and each
sample of each tar through its index. What no manifest vouches for (listings, configs, metrics) is parsed.

The manifest of a broken file is withdrawn, so that `fld run` makes the file anew: signals and rounds from what they
were made of, images from what is left of their tar and the source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from pipeline.config import saved
from pipeline.schema import ImageRow, IndexRow, Record
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import MANIFEST, Manifest
from pipeline.storage.parquet import parse_parquet, parse_table
from pipeline.storage.store import IO_THREADS, Store

BLOCK = 1 << 20
Action = Literal["withdraw", "remove", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One broken file and what mends it: `shard`'s manifest in `folder` is withdrawn, or the file is removed, as every
    run writes it anew, or nothing could make it anew and it is kept."""

    file: str
    problem: str
    action: Action
    folder: str = ""
    shard: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    files: int
    size: int  # bytes
    problems: list[Problem]


def verify(
    store: Store, deep: bool, advance: Callable[[int, int], None] = lambda done, total: None
) -> Verdict:
    """All problems of a work folder; `advance` is told manifests done and in all."""
    todo = [
        (folder, name) for folder in folders(store) for name in store.list(layout.manifests(folder))
    ]
    files = size = 0
    problems: list[Problem] = []
    with ThreadPoolExecutor(IO_THREADS) as pool:
        checked = pool.map(lambda each: _check_manifest(store, each[0], each[1], deep), todo)
        for i, (manifest, found) in enumerate(checked, 1):
            files += len(manifest.files) if manifest else 0
            size += sum(file["size"] for file in manifest.files.values()) if manifest else 0
            problems += found
            advance(i, len(todo))
    loose = list(_loose(store))
    problems += [problem for name in loose for problem in _check_loose(store, name)]
    return Verdict(files + len(loose), size, problems)


def withdraw(store: Store, problems: list[Problem]) -> None:
    """Take back what vouches for broken files."""
    shards: dict[str, dict[str, tuple[str, ...]]] = {}
    for problem in problems:
        if problem.action == "withdraw":
            shards.setdefault(problem.folder, {})[problem.shard] = ()
        elif problem.action == "remove":
            store.remove(problem.file)
            _remove_sign(store, problem.file)
    for folder, broken in shards.items():
        store.withdraw(folder, broken)


def _remove_sign(store: Store, file: str) -> None:
    """A run writes a table and then its counts, and takes the counts for the sign that both are there."""
    folder = file.rpartition("/")[0]
    if file == layout.round_index(folder):
        store.remove(layout.round_metrics(folder))
    elif file == layout.dedup_groups(folder):
        store.remove(layout.dedup_summary(folder))


def folders(store: Store) -> list[str]:
    """Everything that has manifests."""
    return [IMAGES, *(f"{kind}/{name}" for kind in layout.STAGED for name in store.list(kind))]


def _check_manifest(
    store: Store, folder: str, name: str, deep: bool
) -> tuple[Manifest | None, list[Problem]]:
    path = layout.manifest(folder, name)
    if not MANIFEST.fullmatch(name):
        return None, [Problem(file=path, problem="no manifest has such a name", action="remove")]
    try:
        manifest = Manifest.decode(store.read(path))
    except ValueError as error:
        return None, [Problem(file=path, problem=str(error), action="remove")]
    found = {file: _check_file(store, file, known, deep) for file, known in manifest.files.items()}
    if deep and not any(found.values()):
        found = _check_content(store, folder, manifest)
    return manifest, [
        Problem(file=file, problem=problem, action="withdraw", folder=folder, shard=manifest.shard)
        for file, problem in found.items()
        if problem
    ]


def _check_file(store: Store, name: str, known: dict[str, Any], deep: bool) -> str:
    try:
        size = store.size(name)
        if size != known["size"]:
            return f"{size} bytes, not {known['size']}"
        if deep and _sha256(store, name) != known["sha256"]:
            return f"other bytes than were written (sha256 is not {known['sha256'][:12]}...)"
    except FileNotFoundError:
        return "missing"
    return ""


def _sha256(store: Store, name: str) -> str:
    hasher = hashlib.sha256()
    with store.open(name) as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def _check_content(store: Store, folder: str, manifest: Manifest) -> dict[str, str]:
    """Files that hash as they should but are not what the others say: {name: problem}."""
    shard = manifest.shard
    if folder == IMAGES:
        rows: list[ImageRow] = parse_table(store.read(layout.images_table(shard)), ImageRow)
        good = [(r.offset or 0, r.size or 0, r.sha256) for r in rows if r.failed is None]
        bad = [
            sha
            for sha, data in _slices(store, layout.images_tar(shard), good)
            if hashlib.sha256(data).hexdigest() != sha
        ]
        counted = {layout.images_table(shard): _miscounted(len(rows), manifest)}
        return {
            **counted,
            layout.images_tar(shard): f"{len(bad)} images are not where the table says"
            if bad
            else "",
        }
    if layout.is_round(folder):
        return _check_round(store, folder, manifest)
    if layout.is_signals(folder):
        table = layout.signals_table(folder, shard)
        return {table: _miscounted(parse_parquet(store.read(table)).num_rows, manifest)}
    return {}


def _check_round(store: Store, folder: str, manifest: Manifest) -> dict[str, str]:
    shard = manifest.shard
    records: list[Record] = parse_table(store.read(layout.round_table(folder, shard)), Record)
    index: list[IndexRow] = parse_table(store.read(layout.shard_index(folder, shard)), IndexRow)
    tar = layout.round_tar(folder, shard)
    images = _slices(store, tar, [(row.image_offset, row.image_size, row.key) for row in index])
    hashes = {key: hashlib.sha256(data).hexdigest() for key, data in images}
    texts = dict(_slices(store, tar, [(row.json_offset, row.json_size, row.key) for row in index]))
    bad = [
        r.key
        for r in records
        if hashes.get(r.key) != r.sha256 or json.loads(texts.get(r.key, b"{}")).get("key") != r.key
    ]
    return {
        layout.round_table(folder, shard): _miscounted(len(records), manifest),
        tar: f"{len(bad)} samples are not where the index says" if bad else "",
    }


def _slices(
    store: Store, name: str, places: list[tuple[int, int, Any]]
) -> Iterator[tuple[Any, bytes]]:
    with store.open(name) as file:
        for offset, size, what in places:
            file.seek(offset)
            yield what, file.read(size)


def _miscounted(rows: int, manifest: Manifest) -> str:
    return (
        ""
        if rows == manifest.samples["in"]
        else f"{rows} rows, the manifest counts {manifest.samples['in']} samples"
    )


def _loose(store: Store) -> Iterator[str]:
    """Published files that no manifest vouches for."""
    yield from (layout.in_listing(name) for name in store.list(layout.LISTING))
    made = [
        path(layout.named_round(name))
        for name in store.list(layout.ROUNDS)
        for path in (layout.round_metrics, layout.round_state, layout.round_index)
    ]
    for name in store.list(layout.DEDUP):
        folder = layout.dedup_folder(name)
        if store.exists(layout.dedup_summary(folder)):
            yield from (layout.dedup_summary(folder), layout.dedup_groups(folder))
    known = (layout.CONFIG, layout.SOURCE, layout.HEAD, layout.DEDUP_LATEST, *made)
    yield from (name for name in known if store.exists(name))


def _check_loose(store: Store, name: str) -> list[Problem]:
    try:
        if name == layout.CONFIG:
            saved.values(store)
        elif name.endswith(".json"):
            store.read_json(name)
        else:
            parse_parquet(store.read(name), verify=True)
    except (ValueError, pa.ArrowException, OSError) as error:
        kept = name == layout.CONFIG or name.startswith(layout.LISTING)
        problem = f"unreadable: {' '.join(str(error).split())}"[:200]
        return [Problem(file=name, problem=problem, action="keep" if kept else "remove")]
    return []
