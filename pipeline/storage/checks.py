"""Whether published files are still the ones that their manifest vouches for."""

from __future__ import annotations

import hashlib

from pipeline.errors import BrokenFiles
from pipeline.storage.manifest import FileDigest
from pipeline.storage.store import Store

BLOCK_BYTES = 1 << 20


def broken(store: Store, name: str, problem: str) -> BrokenFiles:
    """The error to raise where a published file cannot be read as it was written."""
    advice = "`fld verify --deep` withdraws it, and the next run makes it again"
    one_line = " ".join(problem.split())
    return BrokenFiles(f"{store.shown(name)}: {one_line}; {advice}")


def problem_of(store: Store, name: str, expected: FileDigest, deep: bool) -> str:
    """What is wrong with a file, "" if nothing is. A deep check reads every byte."""
    try:
        size = store.size(name)
        if size != expected.size:
            return f"{size} bytes, not {expected.size}"
        if deep and _sha256(store, name) != expected.sha256:
            return f"other bytes than were written (sha256 is not {expected.sha256[:12]}...)"
    except FileNotFoundError:
        return "missing"
    return ""


def withdraw_if_broken(store: Store, folder: str, shard: str) -> list[str]:
    """What is wrong with the files of a shard in a folder.

    The manifest of broken files is withdrawn, so that the next run makes them again.
    """
    try:
        manifests = list(store.manifests(folder, [shard]))
    except ValueError as error:
        # The manifest itself is broken.
        store.withdraw(folder, {shard: ()})
        return [str(error)]
    found = []
    for manifest in manifests:
        for name, expected in manifest.files.items():
            problem = problem_of(store, name, expected, deep=True)
            if problem:
                found.append(f"{store.shown(name)}: {problem}")
    if found:
        store.withdraw(folder, {shard: ()})
    return found


def _sha256(store: Store, name: str) -> str:
    """The digest of a file, read block by block."""
    hasher = hashlib.sha256()
    with store.open(name) as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()
