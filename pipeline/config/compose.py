"""Plain settings from YAML files and from words of the command line.

`compose` starts from the YAML files of `configs/` (by hydra), `load` from a config that a run has
saved, and `dotlist` from nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from pipeline.storage.json_types import Json


def compose(overrides: Sequence[str], root: str = "fld") -> Json:
    """Compose `configs/<root>.yaml` with overrides such as `experiment=photos work=DIR a.b=c`.

    Raises:
        ValueError: an override is no setting, or hydra cannot apply it.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module

    for override in overrides:
        if not override.startswith("~"):
            _check_setting(override)
            _check_not_empty(override)
    forced = [_forced(override) for override in overrides]
    with _one_line_errors(), initialize_config_module("configs", version_base="1.3"):
        return _plain(hydra_compose(root, overrides=forced))


def load(file: str | Path, overrides: Sequence[str]) -> Json:
    """Read a saved resolved config and apply overrides such as `a.b=c` to it.

    Raises:
        ValueError: the file does not exist or is not YAML, or an override is no setting.
    """
    from omegaconf import OmegaConf

    if not Path(file).is_file():
        raise ValueError(f"--config {file}: no such file; give a saved config.yaml")
    for override in overrides:
        _check_not_empty(override)
    with _one_line_errors(f"--config {file}: "):
        saved = OmegaConf.load(file)
        return _plain(OmegaConf.merge(saved, OmegaConf.from_dotlist(list(overrides))))


def dotlist(overrides: Sequence[str]) -> Json:
    """Read settings such as `a.b=c`; each value is read as YAML.

    Raises:
        ValueError: a word is no setting, or its value is not YAML.
    """
    from omegaconf import OmegaConf

    for override in overrides:
        _check_setting(override)
    with _one_line_errors(f"{' '.join(overrides)}: ", "; quote what YAML reads in its own way"):
        return _plain(OmegaConf.from_dotlist(list(overrides)))


def _check_setting(override: str) -> None:
    if "=" not in override:
        raise ValueError(f"{override}: not a setting; write key=value")


def _check_not_empty(override: str) -> None:
    """Refuse `specialists.ocr={}`: settings are added to those of the files, so it adds nothing."""
    key, _, value = override.partition("=")
    group = key.lstrip("+").partition(".")[0]
    # A row of a study may be empty: it tests a checkpoint as it is.
    if value.replace(" ", "") != "{}" or group == "rows":
        return
    is_stage = group in ("specialists", "filters") and key.count(".") == 1
    advice = f"{key}=null leaves the stage out" if is_stage else "name what to change"
    raise ValueError(f"{override}: adds no setting and removes none; {advice}")


def _forced(override: str) -> str:
    """Add hydra's `++` to an override, unless it chooses a file or has a sign of its own.

    Hydra refuses a key that no YAML file names. `parse` checks the keys instead: it knows the
    dataclasses and therefore all keys.
    """
    if override[0] in "+~" or _is_group(override.split("=")[0]):
        return override
    return f"++{override}"


def _is_group(key: str) -> bool:
    return "." not in key and (resources.files("configs") / key).is_dir()


def _plain(config: object) -> Json:
    """Convert an OmegaConf mapping to a dict; references such as `${work}` are replaced."""
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@contextmanager
def _one_line_errors(before: str = "", after: str = "") -> Iterator[None]:
    """Turn the errors of hydra, OmegaConf and YAML into a `ValueError` of one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        message = " ".join(str(error).split())
        raise ValueError(f"{before}{message}{after}") from None
