"""Settings that name a stage, a class or a field that this run does not have.

They can only be mistakes, so each one is refused in a line that says what to change.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from importlib import resources
from typing import Any

import yaml

from pipeline.config.contents import lacks_files
from pipeline.config.order import upstream_of
from pipeline.config.run import ROUND_MODEL, Entry, RunConfig
from stages import registry
from stages.base import gives_of

# Settings that hold thresholds by source; a source is the name of a stage.
THRESHOLDS = ("min_scores", "min_box_scores")
# The loop fills in these fields of `refine.annotate` for each of its models.
FILLED_IN = {
    "model": "give the checkpoint to start from as refine.start",
    "fold": "set refine.folds",
    "folds": "set refine.folds",
}
# Names that the engine and the loop give to stages, models and labels of their own.
RESERVED = (
    "ingest",
    "refine",
    "witness",
    "merge",
    "sparse",
    "train",
    "round",
    "human",
    "truth",
    "alt",
    ROUND_MODEL,
)
# The loop fills in these, too, for the nodes that it adds to a round.
LOOP_FIELDS = ("tasks", "support", "missing", "fresh", *FILLED_IN)


def check_names(run: RunConfig) -> None:
    """Check that every name in the settings of a run is that of something in the run.

    Raises:
        ValueError: a name is used twice or is unknown; one line with what to change.
    """
    for group in ("specialists", "filters"):
        for name in getattr(run, group):
            _check_free(f"{group}.{name}", name)
    for name in run.filters.keys() & run.specialists.keys():
        raise ValueError(f"filters.{name}: a specialist has that name; give the filter another")
    choices = [*run.specialists, ROUND_MODEL]
    # Without rounds nothing is completed; a recipe may lack the specialists of the default list.
    for name in run.refine.complete if run.refine.rounds else ():
        if name not in choices:
            raise ValueError(f"refine.complete: {name} is no specialist; {_hint(name, choices)}")
    for name, entry in run.specialists.items():
        _check_fused(run, name, entry)
        _check_scenes(run, name, entry)
    for name, entry in run.filters.items():
        for setting in THRESHOLDS:
            thresholds: Mapping[str, float] = getattr(entry.options, setting, {})
            for key in thresholds:
                _check_threshold(run, f"filters.{name}.{setting}", key)
    _check_loop_stages(run)


def _check_free(where: str, name: str) -> None:
    """Check that a stage does not have a name that the engine uses itself."""
    # The models of several folds have numbers, such as `refine_0`.
    stem = name.rstrip("0123456789").removesuffix("_")
    if stem in RESERVED:
        raise ValueError(f"{where}: the engine uses the name {stem} itself; give it another name")


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"


def _check_fused(run: RunConfig, name: str, entry: Entry) -> None:
    """Check that `fuse` reads the stages that it fuses."""
    if entry.use != "fuse":
        return
    options: Any = entry.options
    where = f"specialists.{name}"
    upstream = upstream_of(entry, run.specialists)
    for source in options.sources:
        if source not in run.specialists:
            others = [other for other in run.specialists if other != name]
            raise ValueError(f"{where}.sources: no stage {source}; {_hint(source, others)}")
        if run.specialists[source] not in upstream:
            raise ValueError(f"{where}.sources: it does not read {source}; add it to {where}.after")


def _check_scenes(run: RunConfig, name: str, entry: Entry) -> None:
    """Check that `noisy_truth` corrupts the scenes that the source renders."""
    if entry.use != "noisy_truth":
        return
    options: Any = entry.options
    scenes = [source for source in run.all_sources.values() if source.use == "scenes"]
    if len(scenes) != 1 or len(run.all_sources) != 1:
        raise ValueError(
            f"specialists.{name}.use=noisy_truth: it corrupts rendered scenes; use source=scenes"
        )
    source: Any = scenes[0].options
    for setting, wanted in (("scenes", "seed"), ("zipf", "zipf")):
        value = getattr(options, setting)
        rendered = getattr(source, wanted)
        if value != rendered:
            raise ValueError(
                f"specialists.{name}.{setting}={value}: the source renders other scenes; "
                f"set it to source.{wanted} ({rendered})"
            )


def _check_threshold(run: RunConfig, where: str, key: str) -> None:
    """Check the key of a threshold: `source`, or for regions also `/class` and `source/class`."""
    source, slash, label = key.partition("/")
    if slash and where.endswith("min_box_scores"):
        raise ValueError(f"{where}.{key}: a triplet has no class; give the source alone")
    known = stage_names(run)
    if source and source not in known and source not in shipped_specialists():
        hint = _hint(source, known)
        if not slash and where.endswith("min_scores"):
            hint = f"for a class write {where}./{key}; for a stage, {hint}"
        raise ValueError(f"{where}.{key}: no stage has the name {source}; {hint}")
    _check_judged(run, where, key)
    if not label:
        return
    classes = list(dict.fromkeys(_classes(run, source)))
    if classes and label not in classes:
        near = difflib.get_close_matches(label, classes, n=1)
        # Without a source the class may also come from a stage whose classes are not known.
        if source or near:
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(classes)}"
            raise ValueError(f"{where}.{key}: no detector knows the class {label}; {hint}")


def _check_judged(run: RunConfig, where: str, key: str) -> None:
    """Check that the stage of a threshold gives what the threshold is for."""
    source, slash, _ = key.partition("/")
    if source not in run.specialists:
        return
    kinds = ("regions",) if slash else ("regions", "text_regions")
    if where.endswith("min_box_scores"):
        kinds = ("triplets",)
    judged = [name for name, entry in run.specialists.items() if _may_give(entry, kinds)]
    if source not in judged:
        what = " or ".join(kinds).replace("_", " ")
        if slash:
            what += " with a class"
        choice = f"choose from {', '.join(judged)}" if judged else "leave it out"
        raise ValueError(f"{where}.{key}: the stage {source} gives no {what}; {choice}")


def _may_give(entry: Entry, kinds: Collection[str]) -> bool:
    """Whether annotations of one of these kinds may have a stage as their source."""
    if entry.use == "fuse":
        # It makes annotations of the kinds that its members have.
        return True
    given = gives_of(registry.load(entry.use)[0])
    return given is None or any(kind in given for kind in kinds)


def stage_names(run: RunConfig) -> list[str]:
    """The possible values of `Annotation.source` in this run."""
    model = run.refine.annotate.name
    names = [*run.specialists, model, ROUND_MODEL, "sparse"]
    if run.refine.folds > 1:
        for fold in range(run.refine.folds):
            names += [f"{model}_{fold}", f"{ROUND_MODEL}_{fold}"]
    return names


def detector_classes(run: RunConfig) -> list[str]:
    """The classes of the detectors that list them, each once, in the order of the settings."""
    return list(dict.fromkeys(_classes(run, "")))


def _classes(run: RunConfig, source: str) -> Iterator[str]:
    """The classes of the detectors that list them: of one stage, or of all for an empty name."""
    for name, entry in run.specialists.items():
        class_names = getattr(entry.options, "class_names", None)
        # Whether the file of the classes is there is checked later. It may also be on the machines
        # that the run is sent to.
        if class_names is None or lacks_files(entry.options):
            continue
        if source in ("", name):
            yield from class_names()


@cache
def shipped_specialists() -> frozenset[str]:
    """The names of all stages in the files of `configs/specialists`.

    A file of filters serves several of these files, so it may name stages of any of them.
    """
    names: set[str] = set()
    for file in (resources.files("configs") / "specialists").iterdir():
        if file.name.endswith(".yaml"):
            names |= yaml.safe_load(file.read_text()).keys() - {"defaults"}
    return frozenset(names)


def _check_loop_stages(run: RunConfig) -> None:
    """Check the two stages of the loop, to which it gives some settings itself."""
    annotate, merge = run.refine.annotate, run.refine.merge
    for where, entry in (("refine.annotate", annotate), ("refine.merge", merge)):
        if entry.after:
            raise ValueError(f"{where}.after: the loop decides what it reads; leave it out")
    _check_fields(annotate, "refine.annotate", LOOP_FIELDS, "florence")
    _check_fields(merge, "refine.merge", ("levels",), "merge")
    defaults = {"model": "", "fold": 0, "folds": 1}
    for name, advice in FILLED_IN.items():
        value = getattr(annotate.options, name)
        if value != defaults[name]:
            raise ValueError(f"refine.annotate.{name}={value}: the loop fills it in; {advice}")
    merge_options: Any = merge.options
    if merge_options.levels:
        raise ValueError(
            "refine.merge.levels: the loop measures them; fix a threshold by add_above, "
            "rename_above or drop_below"
        )


def _check_fields(entry: Entry, where: str, names: Iterable[str], usual: str) -> None:
    """Check that a stage of the loop takes the settings that the loop gives to it."""
    has = {field.name for field in fields(entry.options)}
    if not has.issuperset(names):
        raise ValueError(f"{where}.use={entry.use}: the loop cannot use this stage; use {usual}")


def setting_elsewhere(name: str, but: str) -> str:
    """A hint for a setting that `source.use` does not have: the sources that do."""
    others = []
    for use in registry.SOURCES:
        names = {field.name for field in fields(registry.load(use)[1])}
        if use != but and name in names:
            others.append(use)
    if not others:
        return ""
    return f"source={but} has no such setting; it is one of source={' or '.join(others)}"
