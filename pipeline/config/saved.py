"""A work folder that was run before: the resolved config of its last run, `WORK/config.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.storage import layout
from pipeline.storage.store import Store


def save(store: Store, values: Mapping[str, Any]) -> None:
    """Keep the resolved config with the output; `fld run --config WORK/config.yaml` repeats the run."""
    store.publish(
        layout.CONFIG, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True).encode()
    )


def existing(url: str) -> Store:
    """Raises:
    ValueError: no run has been there.
    """
    store = Store(url)
    store.check_usable()
    if not store.exists(layout.CONFIG):
        raise ValueError(f"{url}: no work folder; give the `work` of an earlier `fld run`")
    return store


def values(store: Store) -> dict[str, Any]:
    """Raises:
    ValueError: the file is broken.
    """
    try:
        found = yaml.safe_load(store.read(layout.CONFIG))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{store.url}/{layout.CONFIG}: {error}; give `fld run` its settings again"
        ) from None
    if not isinstance(found, dict):
        raise ValueError(
            f"{store.url}/{layout.CONFIG}: no settings in it; give `fld run` its settings again"
        )
    return found


def load(store: Store) -> RunConfig:
    """The run that made this folder, wherever the folder lies now."""
    return parse({**values(store), "work": store.url})
