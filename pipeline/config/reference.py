"""Every setting with its type, default and meaning: `fld settings`.

All of it is read from the code. Settings are the fields of frozen dataclasses, and the meaning of a
field is the string literal below it. So the table cannot differ from what the engine accepts.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import entry_points
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from pipeline.config.run import Entry, RunConfig, SourceConfig
from pipeline.config.type_text import type_text
from stages import registry

GROUPS = {
    "run": "fld run, fld plan",
    "source": "fld run: where images come from, by `source.use`; of one of several sources write "
    "sources.NAME. in place of source.",
    "specialists": "fld run: the stages that label; NAME is free, `use` picks one of these",
    "filters": "fld run: the stages that drop labels; NAME is free, `use` picks one of these",
    "rounds": "fld run: how rounds are stored",
    "refine": "fld run: the loop of training, annotating and merging",
    "train": "fld run, fld train: the training of a model",
    "cluster": "fld run, fld train, fld study: where stages and trainings run",
    "training": "fld train ROUND OUT; more under train and cluster",
    "study": "fld study NAME; more under train",
    "dedup": "fld dedup WORK",
    "release": "fld release build WORK; `dedup.` before a setting of fld dedup",
    "calibrate": "fld calibrate ROUND",
    "bench": "fld bench NAME",
}
# Fields that a user cannot set there: the loop of `fld run` fills them in, or `seed` decides them.
FILLED_IN = {
    "refine.annotate.after",
    "refine.annotate.model",
    "refine.annotate.fold",
    "refine.annotate.folds",
    "refine.merge.after",
    "refine.merge.levels",
    "train.seed",
    "detector.seed",
}
# Where a stage's settings stand, unless its folder tells.
PLACES = {
    "florence": "refine.annotate.",
    "merge": "refine.merge.",
    "parse": "specialists.NAME.",  # it lies beside the filters but labels texts
}


# How a setting of one of several sources begins.
_OF_SEVERAL = re.compile(r"^sources\.[^.]+\.")
ANY_NAME = "NAME"
"""Stands in the names of settings where users choose a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting."""

    group: str
    """The part of the configuration that it belongs to: a key of `GROUPS`."""
    use: str
    """The stage, source or bench that takes it; empty for a setting of the engine itself."""
    name: str
    """As it is typed on the command line."""
    type: str
    """What the value may be, in words."""
    default: object
    """Plain value; None also where there is no default."""
    required: bool
    """The code has no default: a file of `configs` or the command line must give a value."""
    meaning: str
    """What it means and its unit; empty if nobody has written it."""


def settings(command_configs: Mapping[str, type]) -> list[Setting]:
    """Every setting of the engine and of every registered stage, by group.

    `command_configs` are the config classes of commands beside `fld run`, by group. They lie on
    higher floors than this file.
    """
    found = [*_run_settings(), *_stage_settings(), *_bench_settings()]
    for group, config in command_configs.items():
        found += _command_settings(group, config)
    order = list(GROUPS)
    return sorted(found, key=lambda setting: order.index(setting.group))


def select(settings: Sequence[Setting], part: str) -> list[Setting]:
    """The settings of a group, of a stage, source or bench, or of a name.

    A name is one of the command line, or its beginning or end: `refine.gate`, `min_score`. Where a
    setting has NAME, any name fits: `sources.web.texts` gives that of every source. The name of a
    stage in the files of `configs` stands for its classes there: `filters.region` gives what a
    region filter has, and `filters.mine.min_score` the setting of every filter.

    Raises:
        ValueError: nothing has that name; the message names the nearest match.
    """
    selected = []
    part = _OF_SEVERAL.sub("source.", part)
    uses = _shipped_uses(part)
    for setting in settings:
        is_named = _begins(setting.name, part) or setting.name.endswith(f".{part}")
        if is_named and uses and setting.use not in uses:
            continue
        if part in (setting.group, setting.use) or is_named:
            selected.append(setting)
    if not selected:
        names = [*GROUPS, *sorted({setting.use for setting in settings if setting.use})]
        near = difflib.get_close_matches(part, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"
        raise ValueError(f"{part}: no such group, stage or source; {hint}")
    return selected


def _shipped_uses(part: str) -> frozenset[str]:
    """The classes of a stage such as `filters.region.min_score` in the files of `configs`.

    Empty if none of these files has a stage of that name. The settings that every stage has belong
    to no class, so the empty name is one of the others.
    """
    group, _, rest = part.partition(".")
    name = rest.partition(".")[0]
    uses = set()
    if group in ("specialists", "filters"):
        for file in (resources.files("configs") / group).iterdir():
            if file.name.endswith(".yaml"):
                stage = yaml.safe_load(file.read_text()).get(name) or {}
                uses |= {stage["use"]} if "use" in stage else set()
    return frozenset({*uses, ""}) if uses else frozenset()


def _begins(name: str, part: str) -> bool:
    """Whether a setting's name is `part` or lies below it."""
    words = name.split(".")
    wanted = part.split(".")
    if len(wanted) > len(words):
        return False
    pairs = zip(words, wanted, strict=False)
    return all(word in (want, ANY_NAME) for word, want in pairs)


def field_meanings(cls: type) -> dict[str, str]:
    """The string literal below each field of a dataclass and of its bases, as one line."""
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            meanings.update(_own_meanings(base))
    return meanings


@cache
def _own_meanings(cls: type) -> Mapping[str, str]:
    meanings = {}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    for statement, below in pairwise(definition.body):
        match statement, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                meanings[name] = " ".join(text.split())
    return meanings


def _run_settings() -> Iterator[Setting]:
    """The engine's own settings of `fld run`."""
    from stages.florence.config import TrainConfig

    for setting in _settings_of(RunConfig, "", "run"):
        top, _, rest = setting.name.partition(".")
        if top == "sources":
            # They are those of `source`.
            continue
        if top in GROUPS and rest:
            yield dataclasses.replace(setting, group=top)
        elif top not in GROUPS:
            yield setting
    yield _several_sources()
    yield from _settings_of(TrainConfig, "train.", "train")


def _several_sources() -> Setting:
    """The line that stands for all settings of `sources`."""
    return Setting(
        group="source",
        use="",
        name=f"sources.{ANY_NAME}",
        type="settings of a source",
        default=None,
        required=False,
        meaning=field_meanings(RunConfig)["sources"],
    )


def _stage_settings() -> Iterator[Setting]:
    """The settings of every registered source and stage."""
    for use in registry.SOURCES:
        yield from _settings_of(registry.load(use)[1], "source.", "source", use)
    others = [point.name for point in entry_points(group="fld.stages")]
    for use in (*registry.STAGES, *others):
        cls, config = registry.load(use)
        kind = "filters" if cls.__module__.startswith("stages.filters.") else "specialists"
        where = PLACES.get(use, f"{kind}.NAME.")
        yield from _settings_of(config, where, where.partition(".")[0], use)


def _command_settings(group: str, config: type) -> Iterator[Setting]:
    """The settings of a command beside `fld run`, without those of groups of their own."""
    for setting in _settings_of(config, "", group):
        name = setting.name
        # The training of `fld train` has a group of its own, and so has the cluster.
        top, _, below = name.partition(".")
        if below and top in GROUPS:
            continue
        if group == "calibrate":
            name = "--" + name.replace("_", "-")
        yield dataclasses.replace(setting, name=name)
    if group == "study":
        detector = registry.config_of(registry.resolve(registry.DETECTOR))
        yield from _settings_of(detector, "detector.", group, "detector")


def _bench_settings() -> Iterator[Setting]:
    for name, target in registry.BENCHES.items():
        config = get_type_hints(registry.resolve(target))["config"]
        yield from _settings_of(config, "", "bench", name)


def _settings_of(
    cls: type, where: str, group: str, use: str = "", defaults: object = None
) -> Iterator[Setting]:
    """The fields of a config class, those of nested config classes in their place.

    `defaults` is an instance whose values count instead of the defaults of the class.
    """
    hints = get_type_hints(cls, include_extras=True)
    meanings = field_meanings(cls)
    for field in _fields(cls):
        name = where + field.name
        if name in FILLED_IN:
            continue
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        required = default is dataclasses.MISSING
        nested = _config_class(hints[field.name])
        if nested is None:
            yield Setting(
                group=group,
                use=use,
                name=name,
                type=type_text(hints[field.name]),
                default=None if required else _plain(default),
                required=required,
                meaning=meanings.get(field.name, ""),
            )
        elif isinstance(default, nested):
            yield from _settings_of(nested, f"{name}.", group, use, default)
        else:
            is_map = get_origin(hints[field.name]) is dict
            below = f"{name}.NAME." if is_map else f"{name}."
            yield from _settings_of(nested, below, group, use)


def _fields(cls: type) -> Iterable[dataclasses.Field[Any]]:
    """The fields that a user types."""
    assert dataclasses.is_dataclass(cls)
    # The name of an entry is its key, and its options are the settings of its stage.
    hidden = {Entry: ("name", "options"), SourceConfig: ("options",), RunConfig: ("train",)}
    return [field for field in dataclasses.fields(cls) if field.name not in hidden.get(cls, ())]


def _config_class(hint: object) -> type | None:
    """The dataclass that a field or each value of a mapping holds."""
    for part in (hint, *get_args(hint)):
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            return part
    return None


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _plain(value: object) -> object:
    """The value as YAML and JSON write it."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
