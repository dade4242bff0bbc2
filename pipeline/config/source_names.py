"""What the sources of a run may be called, and whether two of them are the same images."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import combinations

from pipeline.config.run import SourceConfig
from pipeline.storage.json_types import Json
from pipeline.storage.layout import STEM
from stages import registry

# A name begins keys, as NAME_KEY, and the names of files. Without an underscore in it, two sources
# cannot have the same keys; in small letters, not the same files on a disk that ignores case.
NAME = re.compile(r"[a-z0-9](-?[a-z0-9])*")
LONGEST = 32


def check_one_kind(values: Json) -> None:
    """Check that a run has either a single source or several ones with names.

    Raises:
        ValueError: it has both or neither.
    """
    if values.get("source") and values.get("sources"):
        raise ValueError(
            "source and sources: give one of the two; set source=null, and name that source as one "
            "of the others (sources.NAME.use=...)"
        )
    sources = values.get("sources") or {}
    is_named = not isinstance(sources, Mapping) or any(sources.values())
    if not values.get("source") and not is_named:
        raise ValueError("source: not set; give it a value (source=folder source.path=DIR)")


def check_sources(sources: Mapping[str, SourceConfig]) -> None:
    """Check the names of several sources, and that no two of them are the same images.

    Raises:
        ValueError: a name cannot be used, or two sources have the same images.
    """
    for name in sources:
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST:
            raise ValueError(
                f"sources.{name}: use small letters, digits and single - between them for a name, "
                f"at most {LONGEST}"
            )
        if name == STEM:
            raise ValueError(f"sources.{name}: shards of a run with one source have this name")
    for (first, one), (second, other) in combinations(sources.items(), 2):
        if _are_same_images(one, other):
            path = getattr(one.options, "path", "")
            raise ValueError(
                f"sources.{second}: the same images as sources.{first} ({path}) would come in "
                "twice; leave one of the two out"
            )


def _are_same_images(one: SourceConfig, other: SourceConfig) -> bool:
    """Whether two sources are one folder, and no label files of their own tell them apart."""
    first = getattr(one.options, "path", None)
    second = getattr(other.options, "path", None)
    if first is None or second is None:
        return one.use == other.use and one.options == other.options
    if _real(first) != _real(second):
        return False
    return one.use != other.use or _label_files(one) == _label_files(other)


def _label_files(source: SourceConfig) -> list[object]:
    """The files that say which images a source has; none if these are all images of its folder."""
    cls, _ = registry.load(source.use)
    return [getattr(source.options, name) for name in getattr(cls, "listed_by", ())]


def _real(path: str) -> str:
    """A path in the form in which two are compared; a URL loses a slash at its end."""
    return path.rstrip("/") if "://" in path else os.path.realpath(os.path.expanduser(path))
