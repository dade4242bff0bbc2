"""Whether the sources of a run are those of its work folder.

Names identify images within one source only, and the name of a source stands in the keys of its
samples. So a work folder stays with its sources: others may join them, and none may leave or get
another name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields

from pipeline.config.run import SourceConfig
from pipeline.storage.json_types import Json
from pipeline.storage.layout import STEM
from pipeline.storage.sources import StoredSource, WorkSources, read_sources
from pipeline.storage.store import Store
from stages.base import is_as_before, role_of

ADVICE = "or give another work"


def settings_of(config: SourceConfig) -> Json:
    """`use`, and the settings that decide what the names of a source mean."""
    settings = {"use": config.use}
    for field in fields(config.options):
        value = getattr(config.options, field.name)
        if role_of(field).identity and not is_as_before(field, value):
            settings[field.name] = value
    # As they are when they are read again: tuples become lists.
    plain: Json = json.loads(json.dumps(settings))
    return plain


def joined(store: Store, sources: Mapping[str, SourceConfig]) -> WorkSources:
    """The sources of a work folder, with those of a run that are new in it; nothing is written.

    Args:
        store: the work folder.
        sources: the sources of a run by name (`RunConfig.all_sources`).

    Raises:
        ValueError: an earlier source is gone or has another name, or one lies in the work folder.
    """
    for name, config in sources.items():
        _check_apart(store, config, setting(name))
    known = read_sources(store)
    now = {name: settings_of(config) for name, config in sources.items()}
    if "" in now:
        _check_single(store, known, now[""])
        return WorkSources(single=now[""])
    for name in known.named.keys() - now.keys():
        raise ValueError(_gone(store, name, known, now))
    stored = dict(known.named)
    if known.single is not None and all(source.stem != STEM for source in stored.values()):
        first = _named_now(store, known.single, now)
        stored[first] = StoredSource(known.single, STEM)
    for name, settings in now.items():
        if name in stored:
            _check_same(store, stored[name].settings, settings, setting(name))
        else:
            stored[name] = StoredSource(settings, name)
    return WorkSources(stored, known.single)


def setting(name: str, key: str = "") -> str:
    """How a setting of a source is called on the command line; `name` is "" for the single one."""
    where = f"sources.{name}" if name else "source"
    return f"{where}.{key}" if key else where


def _check_single(store: Store, known: WorkSources, now: Json) -> None:
    if known.several:
        names = ", ".join(known.named)
        raise ValueError(
            f"source.use={now['use']}: {store.url} holds images of the sources {names}; give all "
            f"of them as sources.NAME, {ADVICE}"
        )
    if known.single is not None:
        _check_same(store, known.single, now, "source")


def _check_same(store: Store, earlier: Json, now: Json, where: str) -> None:
    for key in sorted(earlier.keys() & now.keys()):
        if earlier[key] != now[key]:
            here = f"{store.url} holds images of {key}={earlier[key]}"
            raise ValueError(f"{where}.{key}={now[key]}: {here}; give another work")


def _gone(store: Store, name: str, known: WorkSources, now: Mapping[str, Json]) -> str:
    """What to say of a source that a run does not have any more."""
    settings = known.named[name].settings
    for other, new in now.items():
        if other not in known.named and new == settings:
            return (
                f"sources.{other}: {store.url} holds these images as the source {name}, and its "
                f"keys begin with that name; call it {name}, {ADVICE}"
            )
    return (
        f"sources: {store.url} holds images of the source {name}; add it again by "
        f"{_typed(name, settings)}, {ADVICE}"
    )


def _named_now(store: Store, single: Json, now: Mapping[str, Json]) -> str:
    """The name that a run gives to the source which had none.

    Raises:
        ValueError: it gives none, or several could be meant.
    """
    names = [name for name, settings in now.items() if settings == single]
    if len(names) == 1:
        return names[0]
    problem = f"{store.url} holds images of a source that had no name"
    if not names:
        raise ValueError(
            f"sources: {problem}; add it by {_typed('NAME', single)} with a NAME of your choice, "
            f"{ADVICE}"
        )
    raise ValueError(f"sources: {problem}, and it may be {_either(names)}; give another work")


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def _typed(name: str, settings: Json) -> str:
    """A source as it is typed on the command line."""
    words = [f"sources.{name}.use={settings['use']}"]
    if "path" in settings:
        words.append(f"sources.{name}.path={settings['path']}")
    return " ".join(words)


def _check_apart(store: Store, config: SourceConfig, where: str) -> None:
    """Check that the source does not lie in the work folder; the other way round is fine.

    No listing of a source holds a work folder (`stages.sources.files`), but a folder within one
    may be a source of its own: a round of another run.
    """
    path = getattr(config.options, "path", None)
    if not isinstance(path, str):
        return
    source = Store(path)
    if source.local != store.local or source.fs.protocol != store.fs.protocol:
        return
    inner, outer = source.root, store.root
    if store.local:
        inner, outer = os.path.realpath(inner), os.path.realpath(outer)
    if f"{inner}/".startswith(f"{outer}/"):
        raise ValueError(
            f"{where}.path={path}: it lies in the work folder {store.url}; give another work"
        )
