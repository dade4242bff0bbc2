"""The settings of a run, as frozen dataclasses.

Hydra composes plain YAML and pydantic validates it once. YAML holds values only: an unknown key
fails, and the message names the nearest known one. The settings of each stage are defined in the
file of the stage. A saved resolved config runs again (`fld run --config FILE`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, InstanceOf

from pipeline.config.submission import KubeRayConfig, RayJobsConfig, SlurmConfig
from pipeline.config.validation import Settings
from stages import registry
from stages.base import no_effect
from stages.florence.config import TrainConfig
from stages.ranges import Difference, Share

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]


def _as_list(value: object) -> object:
    """One file makes a list of one."""
    return [value] if isinstance(value, str) else value


Files = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
# This name in `refine.complete` means that the round's own model grounds the new texts.
ROUND_MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsConfig:
    """How rounds are stored: the options of a graph's last node, which publishes a round."""

    images: Literal["copy", "reference"] = "copy"
    """`copy`: the shards of each round hold the images, too. `reference`: they hold the labels
    only, with the keys and the order of `images/SHARD.tar`, so that all rounds share its images.
    Choose before the first run: another value makes all rounds and their models anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stage of a run: which stage it is, what it reads and where it runs."""

    name: str
    """Name of the stage in this run: its key in the config."""
    use: str
    """Registered name of the stage's class (stages/registry.py)."""
    options: InstanceOf[Settings]
    """The stage's own config, built from all keys that are no field of this class."""
    after: tuple[str, ...] = ()
    """Names of stages that run before this one. A specialist reads their annotations and those that
    they read themselves; a filter reads everything. A specialist that composes its annotations of
    others also runs behind the filters that may drop these, and reads what they read."""
    group: str = "main"
    """Group of stages that share one actor and its decoded images; see `cluster.groups`."""
    batch_size: Positive = 32
    """How many samples the stage gets in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where images come from."""

    use: str
    """Registered name of the source's class (stages/registry.py)."""
    options: InstanceOf[Settings]
    """The source's own config, built from all keys that are no field of this class."""
    licence: str = ""
    """Licence of its images: an SPDX name such as CC-BY-4.0, a URL, or a sentence. A release takes
    it where `sources.NAME.licence` of the release says no other."""
    limit: Positive | None = None
    """Take only this many samples, the first ones, for a pilot run; null takes all."""
    shard_size: Positive = 500
    """Samples in one shard. It has no effect for sources of tars or Parquet tables: each tar or row
    group is a shard."""
    refuse: Files = ()
    """Lists of images that must not come in: text files, any fsspec URL, with one sha256,
    phash:HASH, key or name a line. Such an image is a failed row, and is not stored. What came in
    before a list named it stays, but `fld release build` leaves it out."""
    refuse_distance: Annotated[int, Field(ge=0, le=12)] = 6
    """Bits of 64 in which an image may differ from a perceptual hash of `refuse`."""

    def without_effect(self) -> Iterator[str]:
        if not self.refuse:
            yield from no_effect(self, ("refuse_distance",), "no list is given; set refuse")
        if registry.load(self.use)[0].whole:
            reason = f"each tar or row group of the source {self.use} is a shard; leave it out"
            yield from no_effect(self, ("shard_size",), reason)
        count = getattr(self.options, "count", None)
        if count is not None and self.limit is not None and self.limit >= count:
            yield f"limit={self.limit}: no effect: the source has only {count} samples; lower it"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """How a round is judged on held-out samples, and when it is accepted."""

    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the samples that no model is trained on, so that rounds are compared on them."""
    held_out_human: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The same share of the samples with human labels, of which there are few: with 0.5, models
    learn from one half and rounds are judged by the other. It counts if it is above `held_out`."""
    truth: Literal["source", "human", "none"] = "source"
    """What a round is compared with on held-out samples. `source`: the truth that came with the
    source, if it has any. `human`: what people said of them in a review (`fld review`). `none`, and
    where there is no such truth: an estimate from a second look of the round's model."""
    tolerance: Share = 0.0
    """A round is rejected when its held-out score is lower than the head's by more than this, with
    95% confidence."""
    min_gain: Difference = 0.002
    """A round is rejected when its held-out score exceeds the head's by less than this."""

    def without_effect(self) -> Iterator[str]:
        if self.held_out_human <= self.held_out:
            reason = f"it is not above held_out={self.held_out:g}; raise it, or leave it out"
            yield from no_effect(self, ("held_out_human",), reason)
        if self.min_gain >= -self.tolerance:
            # A score that is lower than the head's is then rejected for its gain already.
            reason = (
                f"a round that gains less than min_gain={self.min_gain} is rejected anyway; "
                f"give a min_gain below {-self.tolerance:g}"
            )
            yield from no_effect(self, ("tolerance",), reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseConfig:
    """Bootstrapping of texts that few samples have, such as detailed ones.

    A model is fine-tuned on the samples that have such a text and writes it for all others
    (Florence-2 paper, section 4).
    """

    texts: tuple[Literal["brief", "detailed", "more_detailed"], ...] = ()
    """Granularities of text to complete; an empty list turns bootstrapping off."""
    start: str = ""
    """Checkpoint that is fine-tuned: a size in this package, a folder or a hub name. Empty: the
    round's model."""
    stages: tuple[tuple[int, int], ...] = ((64, 120),)
    """Schedule of the fine-tuning: (image side in pixels, steps) of each stage, in order."""
    batch_size: Positive = 8
    """Images in one step of the fine-tuning, over all workers."""

    def without_effect(self) -> Iterator[str]:
        if not self.texts:
            reason = "no text is completed; set texts, such as texts=[detailed]"
            yield from no_effect(self, ("start", "stages", "batch_size"), reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """The refinement loop: train on the labels, annotate again, merge, compare with the head."""

    rounds: NotNegative
    """How many refinement rounds are tried after round 0."""
    start: str = "nano"
    """Checkpoint that training starts from: a size in this package, a folder or a hub name."""
    start_from: Literal["start", "previous"] = "start"
    """`start`: each round trains from `start`; `previous`: from the model of the round before."""
    folds: Positive = 1
    """Models of one round. With more than one, each is trained without one part of the samples
    and annotates that part."""
    sparse: SparseConfig = SparseConfig()
    """Bootstrapping of texts that few samples have."""
    annotate: Entry
    """The stage that annotates with the round's model."""
    merge: Entry
    """The stage that merges the model's labels with the old ones."""
    human_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of a human label in the loss of each training, where a label of a machine has 1."""
    complete: tuple[str, ...] = ()
    """Specialists that add what changed annotations lack, such as masks; `model` stands for the
    round's model, which grounds the phrases of new texts. Stages that compose the texts of one of
    them run, too: they write anew what spoke of a dropped region."""
    stop: Literal["no_gain", "never"] = "no_gain"
    """`no_gain`: stop after a rejected round; `never`: try all rounds."""
    gate: GateConfig = GateConfig()
    """How a round is accepted or rejected."""

    def without_effect(self) -> Iterator[str]:
        if self.rounds == 1:
            reason = "the only round has no model of a round before; raise rounds, or leave it out"
            yield from no_effect(self, ("start_from",), reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfig:
    """Resources of the actors of one group of stages."""

    threads: int = 1
    """Threads of one actor. They can change the last digits of floats, so they are part of the
    recipe that names an output."""
    cpus: float = 1.0
    """CPU cores that Ray reserves for one actor."""
    gpus: float = 0.0
    """GPUs that Ray reserves for one actor; a fraction shares a GPU among actors."""
    actors: tuple[int, int] | None = None
    """Fewest and most actors. Null: from 1 to `cluster.workers` (training: 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Where stages run."""

    address: str | None = None
    """Address of a Ray cluster, `host:port` or `auto`; null starts Ray on this machine, whatever
    RAY_ADDRESS says."""
    workers: Positive = 2
    """Most actors of a group that does not set `actors`."""
    nodes: Positive | None = None
    """Wait until so many machines have joined the cluster; null: take those that are there."""
    groups: dict[str, GroupConfig] = field(default_factory=dict)
    """Resources by name of the group; a group that is not named here has the defaults."""
    models: str | None = None
    """Folder of models of the hub (the cache of huggingface_hub), which all machines must see; `fld
    models fetch` fills it. Null: HF_HUB_CACHE, or the cache of the user."""
    ray: RayJobsConfig | None = None
    """How `fld submit` sends a run to Ray Jobs; `cluster=ray` sets it."""
    kuberay: KubeRayConfig | None = None
    """How `fld submit` sends a run to Kubernetes; `cluster=kuberay` sets it."""
    slurm: SlurmConfig | None = None
    """How `fld submit` sends a run to Slurm; `cluster=slurm` sets it."""

    def group(self, name: str) -> GroupConfig:
        """Return the resources of a group."""
        return self.groups.get(name, GroupConfig())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All settings of `fld run`."""

    experiment: str
    """Name of the experiment: a file of `configs/experiment`."""
    work: str
    """Work folder: any fsspec URL that all workers can reach."""
    seed: int
    """Seed of everything random in the run."""
    source: SourceConfig | None = None
    """Where images come from; a run with several sources has `sources` instead."""
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    """Several sources by name: small letters, digits and `-`. The name stands before the keys of
    the samples. A source may be added later; none may be removed or get another name."""
    specialists: dict[str, Entry]
    """Stages that annotate images in round 0, by name."""
    filters: dict[str, Entry]
    """Stages that run in every round once the labels are complete: they parse texts and mark
    annotations as dropped."""
    rounds: RoundsConfig = RoundsConfig()
    """How rounds are stored."""
    refine: RefineConfig
    """The refinement loop."""
    train: TrainConfig
    """Training of a round's model."""
    cluster: ClusterConfig
    """Where stages run."""

    @property
    def all_sources(self) -> dict[str, SourceConfig]:
        """The sources by name; the single source of a run has the name ""."""
        return self.sources if self.source is None else {"": self.source}
