"""Plain values become one validated `RunConfig`."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.config.run import (
    ROUND_MODEL,
    ClusterConfig,
    Entry,
    RefineConfig,
    RunConfig,
    SourceConfig,
)
from pipeline.config.validation import build, check_keys, check_mapping
from stages import registry
from stages.florence.model import resolve

FILE_SUFFIXES = (".onnx", ".txt", ".safetensors", ".json")


def parse(values: Mapping[str, Any]) -> RunConfig:
    """The validated run.

    Raises:
        ValueError: one line with the key, the value and what to change.
    """
    from stages.florence.config import TrainConfig

    check_keys(values, RunConfig, "")
    for key in ("source", "specialists", "filters", "refine", "train", "cluster"):
        check_mapping(values.get(key), key)
    refine = dict(values["refine"])
    check_keys(refine, RefineConfig, "refine.")
    refine["annotate"] = _entry("refine", refine.get("annotate") or {}, "refine.annotate.")
    refine["merge"] = _entry("merge", refine.get("merge") or {}, "refine.merge.")
    source = dict(values["source"])
    own = {f.name: source.pop(f.name) for f in dataclasses.fields(SourceConfig) if f.name in source}
    options = build(registry.load(str(own.get("use")))[1], source, "source.", set(own))
    run = build(
        RunConfig,
        {
            **values,
            "source": build(SourceConfig, {**own, "options": options}, "source."),
            "specialists": _entries(values["specialists"], "specialists."),
            "filters": _entries(values["filters"], "filters."),
            "refine": build(RefineConfig, refine, "refine."),
            "train": build(TrainConfig, values["train"], "train."),
            "cluster": build(ClusterConfig, values["cluster"], "cluster."),
        },
        "",
    )
    _check_contents(run)
    for name in run.filters.keys() & run.specialists.keys():
        raise ValueError(f"filters.{name}: a specialist has that name; give the filter another")
    for name in run.refine.complete:
        if name not in (*run.specialists, ROUND_MODEL):
            raise ValueError(
                f"refine.complete: {name} is no specialist; choose from {', '.join(run.specialists)}, {ROUND_MODEL}"
            )
    assert isinstance(run, RunConfig)
    return run


def _check_contents(run: RunConfig) -> None:
    """Raises:
    ValueError: a model or data file that a setting names is not there (a hub name is looked for when it is loaded).
    """
    named = {"refine.start": run.refine.start}
    for where, entries in (("specialists", run.specialists), ("filters", run.filters)):
        for name, entry in entries.items():
            for f in dataclasses.fields(entry.options):
                if f.metadata.get("content"):
                    named[f"{where}.{name}.{f.name}"] = getattr(entry.options, f.name)
    for key, value in named.items():
        check_there(key, value)


def check_there(key: str, value: str) -> None:
    """Raises:
    ValueError: setting `key` names a model or data file that is not there.
    """
    from stages.florence.model import resolve

    hub = re.fullmatch(r"[\w-]+/[\w.-]+", value) and Path(value).suffix not in FILE_SUFFIXES
    if value and not hub and not Path(resolve(value)).exists():
        raise ValueError(
            f"{key}={value}: no such file or folder; give one, or a hub name (owner/model)"
        )


def _entries(values: Mapping[str, Any], where: str) -> dict[str, Entry]:
    entries = {
        name: _entry(name, value, f"{where}{name}.")
        for name, value in values.items()
        if value is not None
    }
    for entry in entries.values():
        for other in entry.after:
            if other not in entries:
                near = difflib.get_close_matches(other, entries, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"{where}{entry.name}.after: no stage {other}{hint}")
    return entries


def _entry(name: str, values: Mapping[str, Any], where: str) -> Entry:
    check_mapping(values, where[:-1])
    own = {f.name for f in dataclasses.fields(Entry)} - {"name", "options"}
    if "use" not in values:
        raise ValueError(f"{where}use: not set; name a stage ({where}use=...)")
    shared = {key: value for key, value in values.items() if key in own}
    rest = {key: value for key, value in values.items() if key not in own}
    options = build(registry.load(str(values["use"]))[1], rest, where, own)
    entry = build(Entry, {**shared, "name": name, "options": options}, where)
    assert isinstance(entry, Entry)
    return entry


FILES = ("path", "instances", "captions")  # settings of sources that name files


def rooted(values: Mapping[str, Any], run: RunConfig) -> dict[str, Any]:
    """The values of a run with local files and models by their absolute path, so that a saved config means the same
    from every folder. What is not there stays as it was typed: a URL, the name of a model."""
    found = copy.deepcopy(dict(values))
    places: list[tuple[dict[str, Any], Iterable[str]]] = [
        (found["source"], FILES),
        (found["refine"], ("start",)),
    ]
    for kind, entries in (("specialists", run.specialists), ("filters", run.filters)):
        for name, entry in entries.items():
            places.append(
                (
                    found[kind][name],
                    [f.name for f in fields(entry.options) if f.metadata.get("content")],
                )
            )
    for place, names in places:
        place.update({name: _rooted(place[name]) for name in names if name in place})
    return found


def _rooted(value: Any) -> Any:
    ours = (
        isinstance(value, str) and value and resolve(value) == value
    )  # else a checkpoint of this package
    return os.path.abspath(value) if ours and os.path.exists(value) else value
