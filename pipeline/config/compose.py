"""Hydra composes plain YAML values; here they are made from names, files and overrides."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any


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
        raise ValueError(
            " ".join(line.strip() for line in str(error).split("\n") if line.strip())
        ) from None
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


def dotlist(overrides: Sequence[str]) -> dict[str, Any]:
    """The plain values of `a.b=c` words.

    Raises:
        ValueError: a word is no setting.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    values: Any
    for override in overrides:
        if "=" not in override:
            raise ValueError(f"{override}: not a setting; write key=value")
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)), resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(
            f"{' '.join(overrides)}: {error}; quote what YAML reads in its own way"
        ) from None
    return {str(key): value for key, value in values.items()}
