"""One configuration: hydra composes plain YAML, pydantic validates it once into frozen dataclasses.

Each stage's settings live beside the stage; here are those of a run. YAML holds values only: an unknown key fails with
the nearest known one, and a saved resolved config runs again (`fld run --config FILE`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
ROUND_MODEL = "model"  # in `refine.complete`: the model of the round grounds the new texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stage or source of a run. `options` is the stage's own config.

    `after` names the stages whose annotations it reads, `group` the actor it shares; `batch_size` samples go in at
    once.
    """

    name: str
    use: str
    options: Any
    after: tuple[str, ...] = ()
    group: str = "main"
    batch_size: Positive = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where images come from. `limit` takes the first so many (a pilot); `shard_size` samples go into a shard."""

    use: str
    options: Any
    limit: Positive | None = None
    shard_size: Positive = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """Which share of the samples is held out of training, and when a round is accepted.

    A round is rejected when the held-out score is worse than the head's by more than `tolerance` with 95% confidence,
    and when it is not better by `min_gain`. Without truth, the share of the head's held-out labels that the round's
    model finds again must reach `min_agreement`.
    """

    held_out: float = 0.2
    tolerance: float = 0.0
    min_gain: float = 0.002
    min_agreement: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseConfig:
    """Texts that few samples have, such as detailed ones: the round's model, or checkpoint `start`, is fine-tuned on
    those and writes them for all others (the paper's bootstrapping). No `texts`, no such texts.
    """

    texts: tuple[Literal["brief", "detailed", "more_detailed"], ...] = ()
    start: str = ""
    stages: tuple[tuple[int, int], ...] = ((64, 120),)  # (resolution, steps)
    batch_size: Positive = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """The loop: how many rounds are tried, when it stops, who annotates, how labels merge, which stages complete them.

    A round's training starts from checkpoint `start` (a size in this package, a folder, or a hub name) or, after the
    first, from the round before it. With `folds` above 1 a round trains that many models, each without one part of
    the samples, and each annotates the part that it has not seen. `complete` names the specialists that give changed
    annotations what they lack, and `model` where the round's model shall find the phrases of new texts.
    """

    rounds: NotNegative
    start: str = "nano"
    start_from: Literal["start", "previous"] = "start"
    folds: Positive = 1
    sparse: SparseConfig = SparseConfig()
    annotate: Entry
    merge: Entry
    complete: tuple[str, ...] = ()
    stop: Literal["no_gain", "never"] = "no_gain"
    gate: GateConfig = GateConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfig:
    """Resources of the actors of one group of stages. `threads` can change floats, so it is part of the recipe."""

    threads: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    actors: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Where stages run. `address` None starts Ray here; `workers` is the most actors of a group without own numbers."""

    address: str | None = None
    workers: Positive = 2
    groups: dict[str, GroupConfig] = field(default_factory=dict)

    def group(self, name: str) -> GroupConfig:
        return self.groups.get(name, GroupConfig())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    experiment: str
    work: str
    seed: int
    source: SourceConfig
    specialists: dict[str, Entry]
    filters: dict[str, Entry]
    refine: RefineConfig
    train: Any
    cluster: ClusterConfig
