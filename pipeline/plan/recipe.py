"""What decides a result, as a digest: settings, the content of models and data files, never their paths.

The digest of a recipe names the folder of what is made by it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.storage.manifest import digest

FINGERPRINT_LENGTH = 8


def fingerprint(recipe: Mapping[str, Any]) -> str:
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def recipe_settings(options: Any, revision: str = "") -> dict[str, Any]:
    """The settings of a stage that change its results, contents of models and data files in place of their paths.

    `revision` is the known content of a model that this run made.
    """
    values: dict[str, Any] = {}
    for f in dataclasses.fields(options):
        value = getattr(options, f.name)
        if f.metadata.get("recipe", True):
            content = f.metadata.get("content") and value
            values[f.name] = _plain((revision or content_hash(value)) if content else value)
    return values


def content_hash(path: str) -> str:
    """sha256 of a file, or of a folder's files and their names; a name that is no path stands for itself."""
    root = Path(path)
    if not root.exists():
        return path
    files = [root] if root.is_file() else sorted(file for file in root.rglob("*") if file.is_file())
    names = [file.relative_to(root).as_posix() for file in files]
    return digest(
        *(
            part
            for name, file in zip(names, files, strict=True)
            for part in (name, _file_hash(file))
        )
    )


def revision_of(options: Any) -> str:
    """The commit of a model from a hub, where the settings have one; else the content of the first model or file."""
    if getattr(options, "revision", ""):
        return str(options.revision)
    contents = [
        content_hash(getattr(options, f.name))
        for f in dataclasses.fields(options)
        if f.metadata.get("content") and getattr(options, f.name)
    ]
    return contents[0] if contents else ""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return recipe_settings(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _file_hash(path: Path) -> str:
    stat = os.stat(path)
    return _hash_of(str(path), stat.st_size, stat.st_mtime_ns)


@cache
def _hash_of(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
