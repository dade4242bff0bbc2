"""Whether a model is here: whole, half, or not at all. No model is loaded but ONNX files."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.config.validation import build
from pipeline.models.catalogue import catalogue, in_words
from pipeline.models.wanted import FLORENCE, Kind, Wanted
from stages import registry
from stages.base import StageError
from stages.checkpoints import WrongKind, check_weights, read_config
from stages.florence.limits import limits_of
from stages.hub import HubModel, cache_folder, is_commit

# Where single files lie in the cache of models.
FILES = "onnx"
# How the cache calls what is not whole yet.
PARTIAL = ".incomplete"


class Presence(Enum):
    """How much of a model is here."""

    HERE = "here"
    HALF = "half there"
    UNUSABLE = "not usable"
    MISSING = "missing"
    UNSET = "not set"
    UNPINNED = "no commit"


@dataclass(frozen=True, slots=True)
class State:
    """How much of a model is here, and what is wrong."""

    presence: Presence
    detail: str = ""
    """Where it lies, or what is missing."""


def state_of(wanted: Wanted) -> State:
    """Look at the files of a model."""
    match wanted.kind:
        case Kind.PACKAGE:
            return _package(wanted)
        case Kind.HUB:
            return _hub(wanted)
        case Kind.LOCAL:
            return _local(wanted, wanted.name)
    return _unset(wanted)


def file_path(name: str) -> Path:
    """Where a single file of the catalogue lies."""
    return cache_folder() / FILES / name


def changed_files(model: HubModel) -> list[str]:
    """The files of a model whose content is not that of their name in the cache.

    The cache names each file by the digest that the hub tells: the sha256 of a large one, the id of
    the Git blob of a small one.
    """
    changed = []
    for file in sorted(model.folder.rglob("*")):
        if file.is_file() and not is_content(file, file.resolve().name):
            changed.append(file.relative_to(model.folder).as_posix())
    return changed


def is_content(file: Path, digest: str) -> bool:
    """Whether a file has a digest: a sha256, or the id of a Git blob."""
    with open(file, "rb") as stream:
        if len(digest) == hashlib.sha256().digest_size * 2:
            return hashlib.file_digest(stream, "sha256").hexdigest() == digest
        # gitformat-loose, "blob".
        blob = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
        while chunk := stream.read(1 << 20):
            blob.update(chunk)
    return blob.hexdigest() == digest


def _package(wanted: Wanted) -> State:
    """A model in a Python package; that of the parser is checked file by file."""
    if not wanted.use:
        return State(Presence.HERE, "in this package")
    if wanted.use == "parse":
        stage, config = registry.load("parse")
        try:
            stage.check(config(model=wanted.name))
        except ValueError as error:
            return State(Presence.UNUSABLE, str(error))
        return State(Presence.HERE, "its files are the known ones")
    if importlib.util.find_spec(wanted.name) is None:
        return State(Presence.MISSING, f"pip install {wanted.name.replace('_', '-')}")
    return State(Presence.HERE, f"in the package {wanted.name} {metadata.version(wanted.name)}")


def _hub(wanted: Wanted) -> State:
    """A model of the hub."""
    if not is_commit(wanted.revision):
        return State(Presence.UNPINNED, "the recipe names no commit, so its weights may change")
    model = HubModel(wanted.name, wanted.revision)
    if not model.folder.is_dir():
        partial = sum(file.stat().st_size for file in _partial(model))
        if partial:
            return State(Presence.HALF, f"{in_words(partial)} of it; `fetch` goes on")
        return State(Presence.MISSING)
    return _local(wanted, str(model.folder), _partial(model))


def _partial(model: HubModel) -> list[Path]:
    """The files of a model whose download was broken off."""
    return sorted((model.repo_folder / "blobs").glob(f"*{PARTIAL}"))


def _local(wanted: Wanted, path: str, partial: list[Path] | None = None) -> State:
    """A file or folder: what the stage says of it that loads it."""
    if not Path(path).exists():
        return State(Presence.MISSING, f"{path}: no such file or folder")
    try:
        _check(wanted, path)
    except WrongKind as error:
        return State(Presence.UNUSABLE, str(error))
    except (StageError, ValueError) as error:
        detail = " ".join(str(error).split())
        if partial:
            size = sum(file.stat().st_size for file in partial)
            detail += f" ({in_words(size)} of a file are there; `fetch` goes on)"
        return State(Presence.HALF, detail)
    return State(Presence.HERE, path)


def _check(wanted: Wanted, path: str) -> None:
    """Check a file or folder as the stage does that loads it."""
    # What a Florence-2 takes depends on the settings of the run, which the run checks.
    if wanted.use in ("", FLORENCE):
        limits_of(path)
        return
    stage, config = registry.load(wanted.use)
    check: Any = getattr(stage, "check", None)
    if check is None:
        read_config(path)
        check_weights(path)
        return
    where, _, setting = wanted.settings[0].rpartition(".")
    values = {**wanted.options, setting: path}
    # A folder has no revision.
    values.pop("revision", None)
    check(build(config, values, f"{where}."))


def _unset(wanted: Wanted) -> State:
    """A model that the recipe leaves open: whether the proposed one is here."""
    if not wanted.name:
        return State(Presence.UNSET, f"set {wanted.settings[0]}")
    setting = wanted.settings[0]
    if wanted.name in catalogue().files:
        file = file_path(wanted.name)
        if file.is_file():
            return State(Presence.HERE, f"give {setting}={file}")
        return State(Presence.UNSET, f"set {setting}; `fetch` gets this one")
    model = HubModel(wanted.name, wanted.revision)
    if model.is_here:
        return State(Presence.HERE, f"give {setting}={model.repo}@{model.revision}")
    return State(Presence.UNSET, f"set {setting}; `fetch` gets this one")
