"""What the work that `fld plan` lists will cost: GPU hours, core hours, disk, and time.

A stage takes as long per image as it did in a work folder that has run it (`stage_times`), or as
the user says. What nobody has measured is named and left out of the sums. Rounds that cannot be
planned yet, because a model must be trained first, are counted with all images.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from pipeline.config.run import ClusterConfig, RunConfig
from pipeline.execution.activity import stage_times
from pipeline.execution.engine import actors
from pipeline.ingest.assignment import Names
from pipeline.plan.graph import FILTER_GROUP
from pipeline.plan.journal import INGEST
from pipeline.refinement.planning import PlannedStage
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.store import Store
from pipeline.training.run import GROUP as TRAIN
from stages import registry

MEASURED_SHARDS = 20
"""Manifests that are read to learn how many bytes an image takes."""
ROUND = "round"
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Size:
    """Of a cluster; infinite where it is not known."""

    cpus: float = math.inf
    gpus: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What is left to do of one stage."""

    stage: str
    """ROUND.STAGE."""
    group: str
    images: int
    """To do, over all its shards; for a training those of all its steps."""
    images_per_second: float | None = None
    """Of one actor; None if nobody has measured it."""
    seconds: float | None = None
    """Of one actor for all of the images."""
    gpu_hours: float | None = None
    core_hours: float | None = None
    bytes_per_image: float | None = None
    disk_gb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a plan costs."""

    images: int
    """Images of the source, as far as they are known."""
    stages: list[StageCost]
    gpu_hours: float
    core_hours: float
    disk_gb: float
    """That the work folder will grow by."""
    hours: float
    """At the size of the cluster, from the first stage to the last."""
    unmeasured: list[str]
    """Stages that have work to do and that nobody has measured: the sums are without them."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of stages, by their names without the round."""

    rates: Mapping[str, float]
    """Images per second of one actor."""
    sizes: Mapping[str, float]
    """Bytes of an image's results."""

    @classmethod
    def measured(cls, store: Store, given: Mapping[str, float]) -> Known:
        """What the runs of a work folder have measured; `given` rates count more."""
        per_shard = _images_per_shard(store)
        rates = {}
        for name, spent in stage_times(store).items():
            # A step that counts no samples has done whole shards.
            images = spent.samples or spent.shards * per_shard
            if images and spent.seconds:
                rates[name] = images / spent.seconds
        return cls({**rates, **given}, dict(_sizes(store)))


def cost_of(
    run: RunConfig, planned: Sequence[PlannedStage], known: Known, images: int, size: Size
) -> Cost:
    """The cost of what is to do. `images` is how many the source has."""
    stages = []
    for stage in _to_do(run, planned, images):
        stages.append(_priced(stage, run.cluster, known))
    unmeasured = [stage.stage for stage in stages if stage.seconds is None]
    return Cost(
        images=images,
        stages=stages,
        gpu_hours=sum(stage.gpu_hours or 0.0 for stage in stages),
        core_hours=sum(stage.core_hours or 0.0 for stage in stages),
        disk_gb=sum(stage.disk_gb or 0.0 for stage in stages),
        hours=_hours(stages, run.cluster, size),
        unmeasured=unmeasured,
    )


def images_of(store: Store, run: RunConfig, names: Names) -> int:
    """How many images the sources of a run have, which list these names.

    A name may be a tar or a row group; those that have come in tell its size.
    """
    counts = store.counts(IMAGES)
    given = sum(count.given for count in counts.values())
    images = 0
    for name, source in run.all_sources.items():
        listed = len(names[name])
        if registry.load(source.use)[0].whole:
            listed = round(given / len(counts) * listed) if counts else 0
        images += listed
    return max(images, given)


def _to_do(run: RunConfig, planned: Sequence[PlannedStage], images: int) -> Iterator[StageCost]:
    """The stages with work to do, also those of rounds that cannot be planned yet."""
    groups = _groups(run)
    for stage in planned:
        name = stage.stage.partition(".")[2] or stage.stage
        if stage.folder is None:
            yield from _later(run, stage.stage, images)
        elif stage.stage.startswith(f"{INGEST} "):
            # The row of one source; the row of all sources has its images, too.
            continue
        elif stage.todo and stage.folder.startswith(f"{layout.SUMMARIES}/"):
            # Counting a shard takes milliseconds and some kilobytes.
            continue
        elif stage.todo and name == TRAIN:
            yield StageCost(stage=stage.stage, group=TRAIN, images=_trained(run))
        elif stage.todo:
            share = stage.todo / (stage.done + stage.todo)
            group = groups.get(name, run.refine.annotate.group)
            yield StageCost(stage=stage.stage, group=group, images=round(share * images))


def _later(run: RunConfig, first: str, images: int) -> Iterator[StageCost]:
    """The steps of a round from one on that is called "NUMBER.STEP and what follows"."""
    number, _, step = first.partition(" ")[0].partition(".")
    names = [TRAIN, run.refine.annotate.name, run.refine.merge.name]
    begin = {"train": 0, "refine": 1, "merge": 2}[step]
    names += [name for name in run.refine.complete if name in run.specialists]
    names += [*run.filters, ROUND]
    groups = _groups(run)
    for name in names[begin:]:
        count = _trained(run) if name == TRAIN else images
        yield StageCost(stage=f"{number}.{name}", group=groups[name], images=count)


def _groups(run: RunConfig) -> Mapping[str, str]:
    """The group of each stage, by its name without the round."""
    entries = {**run.specialists, **run.filters}
    groups = {name: entry.group for name, entry in entries.items()}
    for entry in (run.refine.annotate, run.refine.merge):
        groups[entry.name] = entry.group
    return {**groups, INGEST: INGEST, ROUND: FILTER_GROUP, TRAIN: TRAIN}


def _trained(run: RunConfig) -> int:
    """The images of all steps of a round's trainings."""
    return run.train.steps * run.train.batch_size * run.refine.folds


def _priced(stage: StageCost, cluster: ClusterConfig, known: Known) -> StageCost:
    """A stage with all that is known of its cost."""
    name = stage.stage.partition(".")[2] or stage.stage
    size = known.sizes.get(name)
    if size is not None:
        stage = replace(stage, bytes_per_image=size, disk_gb=size * stage.images / 1e9)
    rate = known.rates.get(name)
    if rate is None:
        return stage
    seconds = stage.images / rate
    group = cluster.group(stage.group)
    return replace(
        stage,
        images_per_second=rate,
        seconds=seconds,
        gpu_hours=seconds * group.gpus / HOUR,
        core_hours=seconds * group.cpus / HOUR,
    )


def _hours(stages: Sequence[StageCost], cluster: ClusterConfig, size: Size) -> float:
    """From the first stage to the last.

    Groups that fit the cluster together work at the same time, so the slowest of them decides; the
    others follow one after the other, and so do rounds.
    """
    total = 0.0
    for _, members in itertools.groupby(stages, key=_round_of):
        wave: dict[str, float] = {}
        for group, of_group in itertools.groupby(members, key=attrgetter("group")):
            seconds = sum(stage.seconds or 0.0 for stage in of_group)
            if wave and not _fit([*wave, group], cluster, size):
                total += max(wave.values())
                wave = {}
            wave[group] = wave.get(group, 0.0) + seconds / _actors(group, cluster, size)
        total += max(wave.values(), default=0.0)
    return total / HOUR


def _round_of(stage: StageCost) -> str:
    """What works together: the training of a round comes before its stages."""
    number, _, name = stage.stage.partition(".")
    return f"{number}.{TRAIN}" if name == TRAIN else number


def _most(group: str, cluster: ClusterConfig) -> int:
    """The most actors of a group."""
    _, high = actors(cluster.group(group), cluster, rows=1 << 30)
    if group == TRAIN and cluster.group(group).actors is None:
        return 1
    return high


def _actors(group: str, cluster: ClusterConfig, size: Size) -> int:
    """How many actors of a group the cluster holds."""
    want = cluster.group(group)
    room = float(_most(group, cluster))
    if want.cpus:
        room = min(room, size.cpus / want.cpus)
    if want.gpus:
        room = min(room, size.gpus / want.gpus)
    return max(1, math.floor(room))


def _fit(groups: Sequence[str], cluster: ClusterConfig, size: Size) -> bool:
    """Whether the largest pools of some groups fit the cluster together."""
    cpus = gpus = 0.0
    for name in groups:
        cpus += cluster.group(name).cpus * _most(name, cluster)
        gpus += cluster.group(name).gpus * _most(name, cluster)
    return cpus <= size.cpus and gpus <= size.gpus


def _images_per_shard(store: Store) -> float:
    counts = store.counts(IMAGES)
    return sum(count.given for count in counts.values()) / len(counts) if counts else 0.0


def _sizes(store: Store) -> Iterator[tuple[str, float]]:
    """The bytes that an image takes in the results of each stage that has run."""
    yield from _size_of(store, INGEST, IMAGES)
    for name in store.list(layout.SIGNALS):
        yield from _size_of(store, name.rpartition("-")[0], layout.named_signals(name))
    for name in store.list(layout.ROUNDS):
        yield from _size_of(store, ROUND, layout.named_round(name))


def _size_of(store: Store, stage: str, folder: str) -> Iterator[tuple[str, float]]:
    """The bytes per image of a stage, from some of its manifests; nothing if it has none."""
    shards = sorted(store.done(folder))
    step = max(1, len(shards) // MEASURED_SHARDS)
    size = images = 0
    for manifest in store.manifests(folder, set(shards[::step])):
        size += sum(file.size for file in manifest.files.values())
        images += manifest.samples["in"]
    if images:
        yield stage, size / images
