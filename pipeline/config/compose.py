"""Plain settings from YAML files and from words of the command line.

`compose` starts from the YAML files of `configs/` (by hydra), `load` from a config that a run has
saved, and `dotlist` from nothing. What a word says is told in `pipeline.config.words`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.run import RunConfig
from pipeline.config.words import Word, in_order, is_text, setting_type, text_value
from pipeline.storage.json_types import Json

if TYPE_CHECKING:
    from omegaconf import DictConfig


# What a user types where several sources take the place of one.
NO_SOURCE = "source=null"


def compose(overrides: Sequence[str], root: str = "fld", config: type = RunConfig) -> Json:
    """Compose `configs/<root>.yaml` with overrides such as `experiment=photos work=DIR a.b=c`.

    `config` is the dataclass that the values are for; its types say how values are read.

    Raises:
        ValueError: an override is no setting, or hydra cannot apply it.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module

    choices = []
    words = []
    for override in overrides:
        if override == NO_SOURCE:
            # Hydra cannot choose no file of a group.
            continue
        if override.startswith("~") or _is_group(override.partition("=")[0].lstrip("+")):
            _check_choice(override)
            choices.append(override)
        else:
            words.append(override.lstrip("+"))
    split = in_order(words)
    with _one_line_errors(), initialize_config_module("configs", version_base="1.3"):
        values = hydra_compose(root, overrides=choices)
    _apply(values, split, config, _hydra_value)
    plain = _plain(values)
    is_asked_for = _is_typed(overrides, "source")
    if NO_SOURCE in overrides or (plain.get("sources") and not is_asked_for):
        # The default source, or that of the experiment.
        plain.pop("source", None)
    return plain


def _is_typed(overrides: Iterable[str], group: str) -> bool:
    """Whether words of a command line choose or change something of a group."""
    names = [override.lstrip("+~").partition("=")[0] for override in overrides]
    return any(name.partition(".")[0] == group for name in names)


def load(file: str | Path, overrides: Sequence[str]) -> Json:
    """Read a saved resolved config and apply overrides such as `a.b=c` to it.

    Raises:
        ValueError: the file does not exist or is not YAML, or an override is no setting.
    """
    from omegaconf import DictConfig, OmegaConf

    if not Path(file).is_file():
        raise ValueError(f"--config {file}: no such file; give a saved config.yaml")
    with _one_line_errors(f"--config {file}: "):
        saved = OmegaConf.load(file)
    if not isinstance(saved, DictConfig):
        raise ValueError(f"--config {file}: no settings in it; give a saved config.yaml")
    _apply(saved, in_order(overrides), RunConfig, _yaml_value)
    return _plain(saved)


def dotlist(overrides: Sequence[str], config: type) -> Json:
    """Read settings of the dataclass `config`, such as `a.b=c`; what is no text is read as YAML.

    Raises:
        ValueError: a word is no setting, or its value is not YAML.
    """
    from omegaconf import OmegaConf

    values = OmegaConf.create()
    _apply(values, in_order(overrides), config, _yaml_value)
    return _plain(values)


def _apply(
    values: DictConfig,
    words: Iterable[Word],
    config: type,
    read: Callable[[str], object],
) -> None:
    """Set what each word says; `read` reads values that are no text."""
    from omegaconf import OmegaConf

    for word in words:
        hint = setting_type(config, word.key, values)
        value: object = text_value(word.value, hint)
        if not is_text(hint):
            _check_not_empty(word)
            advice = "; write a list as [a,b], a map as {a: 1}, and quote any other text"
            with _one_line_errors(f"{word}: ", advice):
                value = read(word.value)
        # `parse` checks the keys: it knows the dataclasses and therefore all keys.
        with _one_line_errors(f"{word}: "):
            OmegaConf.update(values, word.key, value, merge=True, force_add=True)


def _hydra_value(text: str) -> object:
    """Read a value by hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"value={text}")
    except HydraException:
        # Hydra's own message is about its lexer.
        raise HydraException("this value is not readable") from None
    if override.is_sweep_override():
        raise HydraException("this is several values")
    return override.value()


def _yaml_value(text: str) -> object:
    """Read a value as YAML."""
    from omegaconf import OmegaConf

    return OmegaConf.from_dotlist([f"value={text}"]).value


def _check_not_empty(word: Word) -> None:
    """Refuse `specialists.ocr={}`: settings are added to those of the files, so it adds nothing."""
    group, _, name = word.key.partition(".")
    # A row of a study may be empty: it tests a checkpoint as it is.
    if word.value.replace(" ", "") != "{}" or group == "rows":
        return
    is_stage = group in ("specialists", "filters") and "." not in name
    advice = f"{word.key}=null leaves the stage out" if is_stage else "name what to change"
    raise ValueError(f"{word}: adds no setting and removes none; {advice}")


def _check_choice(override: str) -> None:
    """Check that `source=folder` names a file of `configs/source`."""
    key, _, value = override.partition("=")
    if override.startswith("~") or value == "null":
        return
    files = (resources.files("configs") / key.lstrip("+")).iterdir()
    names = sorted(file.name.removesuffix(".yaml") for file in files)
    if value not in names:
        near = difflib.get_close_matches(value, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"
        raise ValueError(f"{override}: no such file in configs/{key}; {hint}")


def _is_group(key: str) -> bool:
    return "." not in key and (resources.files("configs") / key).is_dir()


def _plain(config: object) -> Json:
    """Convert an OmegaConf mapping to a dict; references such as `${work}` are replaced."""
    from omegaconf import OmegaConf

    with _one_line_errors():
        values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): _at_home(value) for key, value in values.items()}


def _at_home(value: object) -> object:
    """Replace `~/` at the start of every text by the home folder, which no shell has done."""
    if isinstance(value, dict):
        return {key: _at_home(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_at_home(item) for item in value]
    if isinstance(value, str) and value.startswith("~/"):
        return os.path.expanduser(value)
    return value


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
