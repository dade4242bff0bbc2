"""Settings as they are typed, before a config's dataclasses check them."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pipeline.config import RunConfig
from stages.florence.model import resolve

FILES = ("path", "instances", "captions")  # settings of sources that name files


def dotlist(overrides: Sequence[str]) -> dict[str, Any]:
    """The plain values of `a.b=c` words.

    Raises:
        ValueError: a word is no setting.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    values: Any
    for override in overrides:
        if "=" not in override:
            raise ValueError(f"{override}: not a setting; write key=value")
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)), resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{' '.join(overrides)}: {error}; quote what YAML reads in its own way") from None
    return {str(key): value for key, value in values.items()}


def rooted(values: Mapping[str, Any], run: RunConfig) -> dict[str, Any]:
    """The values of a run with local files and models by their absolute path, so that a saved config means the same
    from every folder. What is not there stays as it was typed: a URL, the name of a model."""
    found = copy.deepcopy(dict(values))
    places: list[tuple[dict[str, Any], Iterable[str]]] = [(found["source"], FILES), (found["refine"], ("start",))]
    for kind, entries in (("specialists", run.specialists), ("filters", run.filters)):
        for name, entry in entries.items():
            places.append((found[kind][name], [f.name for f in fields(entry.options) if f.metadata.get("content")]))
    for place, names in places:
        place.update({name: _rooted(place[name]) for name in names if name in place})
    return found


def _rooted(value: Any) -> Any:
    ours = isinstance(value, str) and value and resolve(value) == value  # else a checkpoint of this package
    return os.path.abspath(value) if ours and os.path.exists(value) else value
