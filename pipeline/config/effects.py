"""Settings that have no effect beside the others: one line for each, before anything runs.

Each config class knows about its own fields (`without_effect`, see `stages.base`). Here are the
rules that need the whole run. A setting is mentioned only if its value is not the default of its
class. Whole groups of settings that shipped files set, such as those of a loop without rounds, are
mentioned only where the user has typed them.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from pipeline.config.groups import TRAIN_GROUP, groups_at_work, idle_gpus
from pipeline.config.names import THRESHOLDS, stage_names
from pipeline.config.run import ROUND_MODEL, ClusterConfig, Entry, RunConfig, SourceConfig
from stages import registry
from stages.base import no_effect
from stages.florence.tasks import TEXT_TASKS, find_task

# Parts of `cluster` that say how `fld submit` sends a run.
SUBMISSIONS = ("ray", "kuberay", "slurm")
GROUNDING_TASK = "<CAPTION_TO_PHRASE_GROUNDING>"
# For commands that only train and test models.
UNUSED_WORKERS = "cluster.workers: no effect: set cluster.groups.train.actors"
TRUTH, HUMAN, ALT = "truth", "human", "alt"
# Sources whose setting `annotations` says whether they bring human labels or truth.
LABELLED = ("coco", "cvat", "labelstudio", "open_images", "yolo")
# What the other sources of this package bring besides images.
SOURCE_LABELS: dict[str, frozenset[str]] = {
    "folder": frozenset(),
    "scenes": frozenset({TRUTH}),
    "webdataset": frozenset({ALT}),
    "img2dataset": frozenset({ALT}),
    "parquet": frozenset({ALT}),
    "class_folders": frozenset({HUMAN}),
}


def typed_names(overrides: Iterable[str]) -> list[str]:
    """The names of settings on a command line: `a.b` of `a.b=c`, `+a.b=c` or `~a.b`."""
    return [override.lstrip("+~").partition("=")[0] for override in overrides]


def announce(messages: Iterable[str]) -> None:
    """Print each message as a warning, on a line of its own."""
    for message in dict.fromkeys(messages):
        logging.getLogger("fld").warning("%s", " ".join(message.split()))


def own(config: Any, where: str = "") -> Iterator[str]:
    """What a config says of its own fields; `where` is its path, such as `refine.gate.`."""
    if hasattr(config, "without_effect"):
        for message in config.without_effect():
            yield f"{where}{message}"


def warnings(run: RunConfig, typed: Collection[str] = ()) -> list[str]:
    """A line for each setting of a run that has no effect; `typed` are names that a user typed."""
    found = [
        *_sources(run),
        *_stages(run),
        *_filters(run),
        *_absent_stages(run, typed),
        *_refine(run),
        *own(run.train, "train."),
        *_unused_rounds(run, typed),
        *_cluster(run),
    ]
    return list(dict.fromkeys(found))


def unused_groups(
    cluster: ClusterConfig, used: Collection[str], names: Iterable[str] | None = None
) -> Iterator[str]:
    """A warning for each group of `cluster.groups` that is not in `used`.

    `names` are the groups to look at; None: all.
    """
    for name in cluster.groups if names is None else names:
        if name in used:
            continue
        near = difflib.get_close_matches(name, used, n=1)
        hint = f"did you mean {near[0]}?" if near else f"groups here: {', '.join(sorted(used))}"
        yield f"cluster.groups.{name}: no effect: no stage is in this group; {hint}"


def typed_groups(typed: Iterable[str]) -> list[str]:
    """The groups of `cluster.groups` among the names that a user typed."""
    groups = []
    for name in typed:
        parts = name.split(".")
        if parts[:2] == ["cluster", "groups"] and len(parts) > 2:
            groups.append(parts[2])
    return groups


def unsent(typed: Iterable[str]) -> Iterator[str]:
    """A warning for each typed setting of a submission, for commands that send nothing."""
    for name in typed:
        if _below(name, [f"cluster.{target}" for target in SUBMISSIONS]):
            yield f"{name}: no effect: only `fld submit` reads it"


def _below(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a setting is one of these or lies below one."""
    return any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)


def _sources(run: RunConfig) -> Iterator[str]:
    for name, source in run.all_sources.items():
        where = f"sources.{name}." if name else "source."
        yield from own(source, where)
        yield from own(source.options, where)


def _brings(run: RunConfig, label: str) -> bool:
    """Whether a source of a run may bring such labels."""
    return any(_one_brings(source, label) for source in run.all_sources.values())


def _one_brings(source: SourceConfig, label: str) -> bool:
    """Whether a source may bring such labels. One of another package may bring anything."""
    if source.use in LABELLED:
        kind = TRUTH if getattr(source.options, "annotations", "") == "truth" else HUMAN
        return label == kind
    if label == HUMAN and source.use == "scenes":
        return bool(getattr(source.options, "human", 0.0))
    return label in SOURCE_LABELS.get(source.use, {TRUTH, HUMAN, ALT})


def _lacking(run: RunConfig, labels: str) -> str:
    """That the sources of a run bring no labels of a kind."""
    uses = list(dict.fromkeys(source.use for source in run.all_sources.values()))
    if len(uses) == 1:
        verb = "has" if labels == TRUTH else "brings"
        return f"the source {uses[0]} {verb} no {labels}"
    return f"none of the sources {', '.join(run.all_sources)} has {labels}"


def _stages(run: RunConfig) -> Iterator[str]:
    for group in ("specialists", "filters"):
        entries: dict[str, Entry] = getattr(run, group)
        for name, entry in entries.items():
            yield from _entry(entry, f"{group}.{name}.")


def _entry(entry: Entry, where: str) -> Iterator[str]:
    yield from own(entry.options, where)
    concurrency = getattr(entry.options, "concurrency", 0)
    if concurrency > entry.batch_size:
        reason = f"a call has only batch_size={entry.batch_size} samples; raise batch_size, too"
        for message in no_effect(entry.options, ("concurrency",), reason):
            yield f"{where}{message}"


def _filters(run: RunConfig) -> Iterator[str]:
    """Rules of filters for labels that this run does not have."""
    uses = {entry.use for entry in run.specialists.values()}
    has_ensemble = "fuse" in uses or not uses <= registry.STAGES.keys()
    for name, entry in run.filters.items():
        where = f"filters.{name}."
        if not has_ensemble:
            reason = "no specialist fuses an ensemble (use=fuse); leave it out"
            yield from _nested_no_effect(entry.options, where, "min_agreement", reason)
        if entry.use == "region_filter" and not _brings(run, HUMAN):
            reason = f"{_lacking(run, 'human labels')}; leave it out"
            for message in no_effect(entry.options, ("human_iou",), reason):
                yield f"{where}{message}"
        if entry.use == "text_filter" and not _brings(run, ALT):
            options: Any = entry.options
            limits = options.alt
            reason = f"{_lacking(run, 'alt-texts')}; leave it out"
            names = [field.name for field in fields(limits)]
            for message in no_effect(limits, names, reason):
                yield f"{where}alt.{message}"


def _absent_stages(run: RunConfig, typed: Iterable[str]) -> Iterator[str]:
    """Typed thresholds for stages of another set of specialists; files may hold such ones."""
    known = stage_names(run)
    for name in typed:
        parts = name.split(".")
        if parts[0] != "filters" or len(parts) < 4 or parts[2] not in THRESHOLDS:
            continue
        source = parts[3].partition("/")[0]
        if source and source not in known:
            yield f"{name}: no effect: no specialist of this run has the name {source}"


def _nested_no_effect(config: Any, where: str, name: str, reason: str) -> Iterator[str]:
    """`no_effect` for a field of a config and of the configs in its fields."""
    for message in no_effect(config, (name,), reason):
        yield f"{where}{message}"
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _nested_no_effect(value, f"{where}{field.name}.", name, reason)


def _refine(run: RunConfig) -> Iterator[str]:
    refine = run.refine
    yield from own(refine, "refine.")
    yield from own(refine.sparse, "refine.sparse.")
    yield from own(refine.merge.options, "refine.merge.")
    yield from own(_asked(run), "refine.annotate.")
    yield from _unasked_kinds(run)
    yield from _gate(run)


def _gate(run: RunConfig) -> Iterator[str]:
    gate = run.refine.gate
    where = "refine.gate."
    if gate.held_out == gate.held_out_human == 0 and run.refine.rounds > 0:
        yield f"{where}held_out=0: every round is rejected, as no sample is left to judge it by"
    yield from own(gate, where)


def _asked(run: RunConfig) -> Any:
    """The settings of `refine.annotate` with all tasks that the round's model is asked."""
    options: Any = run.refine.annotate.options
    if ROUND_MODEL not in run.refine.complete:
        return options
    # The same model grounds the new texts with these settings.
    return replace(options, tasks=(*options.tasks, GROUNDING_TASK))


def _unasked_kinds(run: RunConfig) -> Iterator[str]:
    """Rules of the merge for kinds of which the model says nothing."""
    options: Any = run.refine.annotate.options
    asked = {_kind_of(token) for token in (*options.tasks, *options.support)}
    if options.missing:
        asked.add("texts")
    merge: Any = run.refine.merge.options
    for kind in ("texts", "regions", "text_regions", "triplets"):
        rules = getattr(merge, kind)
        if kind in asked or rules == type(rules)():
            continue
        what = kind.replace("_", " ")
        yield (
            f"refine.merge.{kind}: no effect: the model is asked for no {what}; "
            "add a task to refine.annotate.tasks or refine.annotate.support"
        )


def _kind_of(token: str) -> str:
    """The kind of annotation that a task is about."""
    if "OCR" in token:
        return "text_regions"
    if token in TEXT_TASKS:
        return "texts"
    # Open-vocabulary detection asks for regions by their category.
    if find_task(token).family == "alignment" and token != "<OPEN_VOCABULARY_DETECTION>":
        return "triplets"
    return "regions"


def _unused_rounds(run: RunConfig, typed: Collection[str]) -> Iterator[str]:
    """Typed settings of rounds in a run without rounds, and of the rounds that follow the last."""
    if run.refine.rounds == 1 and "refine.stop" in typed:
        yield f"refine.stop={run.refine.stop}: no effect: no round follows the only one"
    if run.refine.rounds > 0:
        return
    idle_groups = {run.refine.annotate.group, run.refine.merge.group, TRAIN_GROUP}
    idle_groups -= _groups(run.specialists.values()) | _groups(run.filters.values())
    idle_groups -= {"ingest", "filters"}
    prefixes = ["seed", "refine", "train", *(f"cluster.groups.{name}" for name in idle_groups)]
    used = ["refine.rounds"]
    if _brings(run, TRUTH):
        # The metrics of round 0 give the scores of held-out samples by themselves.
        used.append("refine.gate.held_out")
    for name in typed:
        if _below(name, prefixes) and name not in used and name != "refine":
            yield f"{name}: no effect: refine.rounds=0 trains no model; raise refine.rounds"


def _groups(entries: Iterable[Entry]) -> set[str]:
    return {entry.group for entry in entries}


def _cluster(run: RunConfig) -> Iterator[str]:
    idle = _groups([run.refine.annotate, run.refine.merge])
    # Training takes one worker unless it sets `actors`.
    pools = (groups_at_work(run) | idle) - {TRAIN_GROUP}
    yield from unused_groups(run.cluster, pools | {TRAIN_GROUP})
    yield from idle_gpus(run)
    if all(run.cluster.group(name).actors is not None for name in pools):
        reason = "every group sets actors; leave it out"
        for message in no_effect(run.cluster, ("workers",), reason):
            yield f"cluster.{message}"
