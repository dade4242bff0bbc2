"""The resolved config of a work folder's last run, in `WORK/config.yaml`."""

from __future__ import annotations

import yaml

from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.storage import layout, layout_journal
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store


def save(store: Store, values: Json) -> None:
    """Save the resolved config; `fld run --config WORK/config.yaml` repeats the run."""
    from omegaconf import OmegaConf

    # `compose.load` reads it by OmegaConf, which takes 1e3 for a number; its own writer quotes it.
    text = OmegaConf.to_yaml(OmegaConf.create(dict(values)))
    store.publish(layout.CONFIG, text.encode())


def existing(url: str) -> Store:
    """Open a work folder in which a run has saved its config.

    Raises:
        ValueError: there is no saved config at `url`.
    """
    store = Store(url)
    store.check_usable()
    if not store.exists(layout.CONFIG):
        raise ValueError(f"{url}: no work folder; give the `work` of an earlier `fld run`")
    return store


def values(store: Store, round_folder: str = "") -> Json:
    """Read the saved config as plain values: that of the last run, or that of a round.

    A round whose config was not kept has that of the last run.

    Raises:
        ValueError: the file is not YAML, or holds no mapping.
    """
    advice = "give `fld run` its settings again"
    name = layout.CONFIG
    if round_folder and store.exists(layout_journal.round_settings(round_folder)):
        name = layout_journal.round_settings(round_folder)
    try:
        content = yaml.safe_load(store.read(name))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = " ".join(str(error).split())
        raise ValueError(f"{store.url}/{name}: {message}; {advice}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{store.url}/{name}: no settings in it; {advice}")
    return content


def load(store: Store, round_folder: str = "") -> RunConfig:
    """Parse what `values` reads. The folder may have moved, so `work` is where it is now."""
    return parse({**values(store, round_folder), "work": store.url})
