"""One configuration: hydra composes plain YAML, pydantic validates it once into frozen dataclasses.

Each stage's settings live beside the stage; here are those of a run. YAML holds values only: an unknown key fails with
the nearest known one, and a saved resolved config runs again (`fld run --config FILE`).
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.validation import build, check_keys, check_mapping
from stages import registry

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
ROUND_MODEL = "model"  # in `refine.complete`: the model of the round grounds the new texts
FILE_SUFFIXES = (".onnx", ".txt", ".safetensors", ".json")


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


def compose(overrides: Sequence[str], root: str = "fld") -> dict[str, Any]:
    """The plain values of `configs/<root>.yaml` under command-line overrides (`experiment=photos work=DIR a.b=c`)."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for override in overrides:
        if "=" not in override and not override.startswith("~"):
            raise ValueError(f"{override}: not a setting; write key=value")
    # Hydra refuses a key that no YAML file names; ours are checked against the dataclasses, which know all of them.
    forced = [o if o[0] in "+~" or _is_group(o.split("=")[0]) else f"++{o}" for o in overrides]
    try:
        with initialize_config_module("configs", version_base="1.3"):
            values = OmegaConf.to_container(hydra_compose(root, overrides=forced), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(" ".join(line.strip() for line in str(error).split("\n") if line.strip())) from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _is_group(key: str) -> bool:
    return (resources.files("configs") / key).is_dir() and "." not in key


def load(file: str | Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The plain values of a saved resolved config under command-line overrides."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if not Path(file).is_file():
        raise ValueError(f"--config {file}: no such file")
    try:
        merged = OmegaConf.merge(OmegaConf.load(file), OmegaConf.from_dotlist(list(overrides)))
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"--config {file}: {error}") from None
    values = OmegaConf.to_container(merged, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def parse(values: Mapping[str, Any]) -> RunConfig:
    """The validated run.

    Raises:
        ValueError: one line with the key, the value and what to change.
    """
    from stages.florence.training import TrainConfig

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
    run = build(RunConfig, {
        **values,
        "source": build(SourceConfig, {**own, "options": options}, "source."),
        "specialists": _entries(values["specialists"], "specialists."),
        "filters": _entries(values["filters"], "filters."),
        "refine": build(RefineConfig, refine, "refine."),
        "train": build(TrainConfig, values["train"], "train."),
        "cluster": build(ClusterConfig, values["cluster"], "cluster."),
    }, "")  # fmt: skip
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
        raise ValueError(f"{key}={value}: no such file or folder; give one, or a hub name (owner/model)")


def _entries(values: Mapping[str, Any], where: str) -> dict[str, Entry]:
    entries = {name: _entry(name, value, f"{where}{name}.") for name, value in values.items() if value is not None}
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
