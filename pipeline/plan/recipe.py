"""What decides a result, as a digest: settings and the content of models and data files.

Paths are not part of it, so a moved model gives the same digest. The digest of a recipe names the
folder of what the recipe makes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pipeline.config.validation import Settings
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import digest
from stages.base import is_as_before, role_of

FINGERPRINT_LENGTH = 8


def fingerprint(recipe: Json) -> str:
    """A short digest of a recipe. The order of its keys does not matter."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def recipe_settings(options: Settings, revision: str = "") -> Json:
    """The settings of a stage that change its results.

    A setting that names a model or data file is replaced by the digest of its content, or by
    `revision` if that is given: the digest of a model that this run has trained.
    """
    values: Json = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        role = role_of(field)
        if not role.recipe or is_as_before(field, value):
            continue
        if role.content and value:
            value = revision or content_hash(value)
        values[field.name] = _plain(value)
    return values


def content_hash(path: str) -> str:
    """The digest of a file, or of the names and contents of all files in a folder.

    If there is no such path, it is the name of something else (a hub model) and is returned.
    """
    root = Path(path)
    if not root.exists():
        return path
    files = [root]
    if root.is_dir():
        files = sorted(file for file in root.rglob("*") if file.is_file())
    parts = []
    for file in files:
        parts += [file.relative_to(root).as_posix(), _file_hash(file)]
    return digest(*parts)


def revision_of(options: Settings) -> str:
    """The commit of a stage's hub model, or the content of its first model or data file."""
    commit = getattr(options, "revision", "")
    if commit:
        return str(commit)
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if role_of(field).content and value:
            return content_hash(value)
    return ""


def _plain(value: object) -> object:
    """Values that JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return recipe_settings(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _file_hash(path: Path) -> str:
    stat = os.stat(path)
    return _cached_hash(str(path), stat.st_size, stat.st_mtime_ns)


@cache
def _cached_hash(path: str, size: int, changed: int) -> str:
    """sha256 of a file, computed once for each size and time of change."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
