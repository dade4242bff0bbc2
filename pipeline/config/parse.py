"""Build one validated `RunConfig` from plain values."""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields

from pipeline.config.contents import check_contents
from pipeline.config.names import check_names, setting_elsewhere
from pipeline.config.needs import check_needs
from pipeline.config.run import (
    ClusterConfig,
    Entry,
    RefineConfig,
    RoundsConfig,
    RunConfig,
    SourceConfig,
)
from pipeline.config.source_names import check_one_kind, check_sources
from pipeline.config.validation import Unset, build, check_keys, check_mapping
from pipeline.storage.json_types import Json
from stages import registry
from stages.base import role_of
from stages.florence.config import TrainConfig
from stages.florence.model import resolve

GROUPS = ("specialists", "filters", "refine", "train", "cluster")
# The settings of sources that name local files or folders.
SOURCE_PATHS = (
    "path",
    "instances",
    "captions",
    "xml",
    "tasks",
    "boxes",
    "labels",
    "classes",
    "names",
    "refuse",
)


def parse(values: Json, is_sent: bool = False) -> RunConfig:
    """Build and check the settings of a run from the plain values that hydra composed.

    Args:
        values: the settings.
        is_sent: whether the run is sent to other machines. Then absolute paths of models and data
            files may be paths of these machines, which are not there on this one.

    Raises:
        MissingSettings: settings have no value. All other mistakes of names and values come first;
            whether files are there comes last.
        ValueError: a setting is wrong; one line with the key, the value and what to change.
    """
    unset = Unset()
    check_keys(values, RunConfig, "")
    for key in GROUPS:
        check_mapping(values.get(key), key)
    check_one_kind(values)
    check_no_seed(values["train"], "train.")
    _check_no_weight(values["train"])
    # A config of a run that was saved before there was this group has none.
    rounds = values.get("rounds", {})
    check_mapping(rounds, "rounds")
    parts = {
        "rounds": build(RoundsConfig, rounds, "rounds."),
        "refine": _refine(values["refine"], unset),
        "source": _source(values["source"], "source.", unset) if values.get("source") else None,
        "sources": _sources(values.get("sources") or {}, unset),
        "specialists": _entries(values["specialists"], "specialists.", unset),
        "filters": _entries(values["filters"], "filters.", unset),
        "train": build(TrainConfig, values["train"], "train."),
        "cluster": build(ClusterConfig, values["cluster"], "cluster."),
    }
    run: RunConfig = build(RunConfig, {**values, **parts}, "")
    check_names(run)
    check_needs(run)
    if unset.names and is_sent and run.cluster.kuberay and not run.cluster.kuberay.image:
        # By itself it is asked for where the job is made, in more words.
        unset.names.append("cluster.kuberay.image")
    unset.check()
    check_contents(run, is_sent)
    return run


def check_no_seed(values: Json, where: str) -> None:
    """Check that the settings of a training do not set `seed`, which the setting `seed` decides.

    Raises:
        ValueError: they do.
    """
    if "seed" in values:
        raise ValueError(f"{where}seed: the setting `seed` decides it; set seed={values['seed']}")


def _check_no_weight(train: Json) -> None:
    """Check that the settings of a training do not set `human_weight`, which the loop decides.

    Raises:
        ValueError: they do.
    """
    if "human_weight" in train:
        advice = f"set refine.human_weight={train['human_weight']}"
        raise ValueError(f"train.human_weight: `refine.human_weight` decides it; {advice}")


def _refine(values: Json, unset: Unset) -> RefineConfig:
    """Build the settings of the loop; the two stages that it names are entries like others."""
    check_keys(values, RefineConfig, "refine.")
    annotate = _entry("refine", values.get("annotate") or {}, "refine.annotate.", unset)
    merge = _entry("merge", values.get("merge") or {}, "refine.merge.", unset)
    refine: RefineConfig = build(
        RefineConfig, {**values, "annotate": annotate, "merge": merge}, "refine."
    )
    return refine


def _sources(values: Json, unset: Unset) -> dict[str, SourceConfig]:
    """Build the settings of several sources; one whose settings are null is left out."""
    check_mapping(values, "sources")
    sources = {}
    for name, settings in values.items():
        if settings is not None:
            check_mapping(settings, f"sources.{name}")
            _check_use(name, values, "sources.", "source")
            sources[name] = _source(settings, f"sources.{name}.", unset)
    if not unset.names:
        check_sources(sources)
    return sources


def _source(values: Json, where: str, unset: Unset) -> SourceConfig:
    """Build the settings of a source: those of every source, and those of its own class."""
    check_mapping(values, where.removesuffix("."))
    shared, own = _split(values, [field.name for field in fields(SourceConfig)])
    if "use" not in shared:
        raise ValueError(f"{where}use: not set; name a source ({where}use=folder)")
    use = str(shared.get("use"))
    options_class = registry.load(use)[1]
    allowed = {field.name for field in fields(options_class)}
    for key in own.keys() - allowed:
        elsewhere = setting_elsewhere(key, use)
        if elsewhere:
            raise ValueError(f"{where}{key}: {elsewhere}")
    options = build(options_class, own, where, shared, unset)
    source: SourceConfig = build(SourceConfig, {**shared, "options": options}, where)
    return source


def _split(values: Json, names: Collection[str]) -> tuple[Json, Json]:
    """Split a mapping into the settings of these names, and the others."""
    inside = {key: value for key, value in values.items() if key in names}
    outside = {key: value for key, value in values.items() if key not in names}
    return inside, outside


def _entries(values: Json, where: str, unset: Unset) -> dict[str, Entry]:
    """Build the stages of one group; a stage whose settings are null is left out."""
    entries: dict[str, Entry] = {}
    for name, settings in values.items():
        if settings is not None:
            _check_use(name, values, where, "stage")
            entries[name] = _entry(name, settings, f"{where}{name}.", unset)
    for entry in entries.values():
        for other in entry.after:
            if other not in entries:
                problem = _not_there(other, entry, entries, values, where)
                raise ValueError(f"{where}{entry.name}.after: {problem}")
    return entries


def _not_there(
    other: str, entry: Entry, entries: Mapping[str, Entry], values: Json, where: str
) -> str:
    """Why a stage that `entry` comes after is not there, and what to change."""
    if other in values:
        rest = ",".join(name for name in entry.after if name in entries)
        advice = f"set {where}{entry.name}.after=[{rest}], too"
        return f"{where}{other}=null leaves {other} out; {advice}"
    near = difflib.get_close_matches(other, entries, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(entries)}"
    return f"no stage {other}; {hint}"


def _check_use(name: str, values: Json, where: str, what: str) -> None:
    """Check that a stage or a source says what it uses; a name without that is likely misspelt.

    `values` are all stages or sources of the group, and `what` is the word for one of them.

    Raises:
        ValueError: it does not say it; the message names the others, or the nearest one.
    """
    settings = values[name]
    others = [other for other in values if other != name]
    if not isinstance(settings, Mapping) or "use" in settings or not others:
        return
    near = difflib.get_close_matches(name, others, n=1)
    hint = f"did you mean {where}{near[0]}?" if near else f"known: {', '.join(others)}."
    raise ValueError(
        f"{where}{name}: no such {what}; {hint} A new {what} needs {where}{name}.use=..."
    )


def _entry(name: str, values: Json, where: str, unset: Unset) -> Entry:
    """Build the settings of one stage: those of every stage, and those of its own class."""
    check_mapping(values, where.removesuffix("."))
    if "use" not in values:
        raise ValueError(f"{where}use: not set; name a stage ({where}use=...)")
    names = {field.name for field in fields(Entry)} - {"name", "options"}
    shared, own = _split(values, names)
    options_class = registry.load(str(values["use"]))[1]
    options = build(options_class, own, where, names, unset)
    entry: Entry = build(Entry, {**shared, "name": name, "options": options}, where)
    return entry


def with_absolute_paths(values: Json, run: RunConfig) -> Json:
    """Copy the values of a run, with absolute paths in place of relative ones.

    So a saved config means the same from every folder. A value that is no local path, such as a
    URL or the name of a model, is kept.
    """
    found = copy.deepcopy(dict(values))
    places: list[tuple[Json, Iterable[str]]] = [
        (found["refine"], ("start",)),
        (found["refine"].get("sparse") or {}, ("start",)),
        (found["cluster"], ("models",)),
    ]
    if run.source is not None:
        places.append((found["source"], SOURCE_PATHS))
    for name in run.sources:
        places.append((found["sources"][name], SOURCE_PATHS))
    for kind, entries in (("specialists", run.specialists), ("filters", run.filters)):
        for name, entry in entries.items():
            places.append(
                (
                    found[kind][name],
                    [f.name for f in fields(entry.options) if role_of(f).content],
                )
            )
    for settings, names in places:
        for name in names:
            if name in settings:
                settings[name] = _absolute(settings[name])
    return found


def _absolute(value: object) -> object:
    """Make a local path, or those of a list, absolute; any other value is returned as it is."""
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    if not isinstance(value, str) or not value:
        return value
    # `resolve` turns the name of a checkpoint of this package, such as nano, into its folder. Such
    # a name stays even where the current folder happens to hold a file of that name.
    if resolve(value) != value or not os.path.exists(value):
        return value
    return os.path.abspath(value)
