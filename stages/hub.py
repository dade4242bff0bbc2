"""Models of the Hugging Face Hub: their names, and where they lie on this machine.

`huggingface_hub` keeps what it has fetched in a cache, in which `snapshots/COMMIT` is the folder of
a model at a commit. A model that is whole there is loaded from that folder, so that no stage asks
the network. Where the cache is, the variable HF_HUB_CACHE says; `cluster.models` sets it for all
workers. Source: "Understand caching" in the documentation of huggingface_hub.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from stages.base import StageError
from stages.checkpoints import CONFIG, check_weights

CACHE_VARIABLE = "HF_HUB_CACHE"
_REPO = re.compile(r"[\w-]+/[\w.-]+")
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of the hub."""

    repo: str
    """OWNER/NAME."""

    revision: str = ""
    """The commit, 40 hexadecimal digits; empty if none is given."""

    @property
    def folder(self) -> Path:
        """Where the cache has it, or would have it."""
        return self.repo_folder / "snapshots" / (self.revision or "none")

    @property
    def repo_folder(self) -> Path:
        """Where the cache has all commits of its repository."""
        return cache_folder() / f"models--{self.repo.replace('/', '--')}"

    @property
    def is_here(self) -> bool:
        """Whether the cache has its config.json and all its weights, whole."""
        if not (self.folder / CONFIG).is_file():
            return False
        try:
            check_weights(str(self.folder))
        except (StageError, ValueError, OSError):
            return False
        return True


def hub_model(name: str, revision: str = "") -> HubModel | None:
    """The model that a setting names; None if it is a file or a folder, or no name of the hub.

    `name` is OWNER/NAME, or OWNER/NAME@COMMIT where a setting has no `revision` beside it.
    """
    repo, _, commit = name.partition("@")
    if not _REPO.fullmatch(repo) or os.path.exists(name):
        return None
    if commit and not _COMMIT.fullmatch(commit):
        return None
    return HubModel(repo, commit or revision)


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, and no branch or tag, which may move."""
    return _COMMIT.fullmatch(revision) is not None


def local_folder(name: str, revision: str = "") -> str:
    """The folder of a hub model if the cache has all of it, or else the name as it is."""
    model = hub_model(name, revision)
    if model is None or not model.is_here:
        return name
    return str(model.folder)


def cache_folder() -> Path:
    """The cache of huggingface_hub."""
    from huggingface_hub import constants

    # The library reads the variable once, when it is imported.
    return Path(os.environ.get(CACHE_VARIABLE) or constants.HF_HUB_CACHE).expanduser()


def use_cache(folder: str | None) -> None:
    """Let this process, and those that it starts, use this cache; None: leave it as it is."""
    if folder:
        os.environ[CACHE_VARIABLE] = os.path.abspath(folder)
