"""What is known of published models (`configs/models.yaml`): licence, size, where a file lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published model: a repository of the hub, or a single file."""

    licence: str
    """As its makers declare it."""
    megabytes: int = 0
    """Size of what is fetched, in units of 1,000,000 bytes; 0 for a package."""
    about: bool = False
    """Whether the size is an estimate from the number of parameters."""
    stage: str = ""
    """The stage (`use`) for which it is proposed where a recipe leaves the model open."""
    revision: str = ""
    """The commit to take where a recipe names none; only for the hub."""
    url: str = ""
    """Where the file is published; only for a file."""
    bytes: int = 0
    """Exact size; only for a file."""
    sha256: str = ""
    """Digest of its content; only for a file."""
    says: str = ""
    """What its makers report of it."""

    @property
    def size(self) -> str:
        """The size as people read it, such as `about 2.6 GB`."""
        return f"{'about ' if self.about else ''}{in_words(self.megabytes * 10**6)}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that is known."""

    hub: dict[str, Published] = field(default_factory=dict)
    """By name on the hub."""
    files: dict[str, Published] = field(default_factory=dict)
    """By name of the file."""
    packages: dict[str, Published] = field(default_factory=dict)
    """By name of the Python package, or of a checkpoint in this package."""

    def proposed(self, use: str) -> str:
        """The name of a model for a stage of which a recipe names none; empty if none is known."""
        for names in (self.files, self.hub):
            for name, published in names.items():
                if published.stage == use:
                    return name
        return ""

    def of(self, name: str) -> Published | None:
        """What is known of a model by its name; None if it is nothing."""
        return self.hub.get(name) or self.files.get(name) or self.packages.get(name)


@cache
def catalogue() -> Catalogue:
    """The content of `configs/models.yaml`."""
    values = yaml.safe_load((resources.files("configs") / "models.yaml").read_text())
    parts = {}
    for part in ("hub", "files", "packages"):
        parts[part] = {name: Published(**known) for name, known in values[part].items()}
    return Catalogue(**parts)


def in_words(size: int) -> str:
    """A number of bytes as people read it: 2 kB, 469 MB, 15.0 GB."""
    if size >= 10**9:
        return f"{size / 10**9:.1f} GB"
    if size >= 10**6:
        return f"{round(size / 10**6)} MB"
    return f"{round(size / 1000)} kB"
