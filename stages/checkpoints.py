"""What a checkpoint folder holds, read from its small files: no model is loaded.

`fld plan` and `fld run` look at every checkpoint in this way before anything runs. The layout is
that of `transformers`: config.json, safetensors, the files of a tokenizer and of a processor. A hub
name can only be looked at when it is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.base import StageError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
# One of these is enough.
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
_HEADER_START = 8  # bytes of a safetensors file that hold the length of its header


class WrongKind(StageError):
    """A checkpoint is one of another kind of model."""


@dataclass(frozen=True, slots=True)
class CheckpointNeeds:
    """What a stage needs of a checkpoint."""

    kind: str
    """The kind of model in words, such as "a SAM"."""

    fits: Callable[[dict[str, Any]], bool]
    """Whether the values of config.json are those of such a model."""

    tokenizer: bool = False
    """Whether the stage reads texts."""

    processor: bool = True
    """Whether the stage needs the settings of an image processor."""


def read_config(folder: str) -> dict[str, Any]:
    """The values of config.json.

    Raises:
        StageError: the folder has none, or it is not JSON.
    """
    file = Path(folder) / CONFIG
    if not file.is_file():
        raise StageError(f"{folder}: no checkpoint: it has no {CONFIG}; give its folder")
    try:
        values = json.loads(file.read_text())
    except ValueError as error:
        raise StageError(f"{file}: not JSON ({error}); fetch the checkpoint again") from None
    assert isinstance(values, dict), file
    return values


def check_folder(folder: str, needs: CheckpointNeeds) -> dict[str, Any]:
    """Check that a folder is a whole checkpoint of the kind that a stage needs.

    Returns:
        The values of config.json.

    Raises:
        StageError: it is not; one line with what is expected and what is there.
    """
    config = read_config(folder)
    if not needs.fits(config):
        raise WrongKind(f"{folder}: it is {kind_of(config)}, this stage needs {needs.kind}")
    check_weights(folder)
    if needs.tokenizer:
        _check_any(folder, TOKENIZER_FILES, "tokenizer")
    if needs.processor:
        _check_any(folder, PROCESSOR_FILES, "image processor")
    return config


def kind_of(config: dict[str, Any]) -> str:
    """The model that config.json describes, in words."""
    names = config.get("architectures") or [f"a model of type {config.get('model_type')!r}"]
    return str(names[0])


def architecture_ends_with(config: dict[str, Any], *endings: str) -> bool:
    """Whether the class of the model has one of these endings; yes if config.json names none."""
    names = config.get("architectures") or []
    return not names or any(name.endswith(endings) for name in names)


def check_weights(folder: str) -> None:
    """Check that the weights are there and whole.

    Raises:
        StageError: a file is missing, is cut off, or is no safetensors file.
    """
    index = Path(folder) / WEIGHTS_INDEX
    names = [WEIGHTS]
    if not (Path(folder) / WEIGHTS).is_file() and index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    for name in names:
        file = Path(folder) / name
        if not file.is_file():
            other = ", ".join(sorted(path.name for path in Path(folder).glob("*.bin")))
            found = f"there is {other}" if other else "there are no other weights"
            raise StageError(f"{folder}: no {name}, {found}; only safetensors are read")
        _check_safetensors(file)


def has_chat_template(folder: str) -> bool:
    """Whether a checkpoint has a template for chats, in a file of its own or in another one."""
    for name in TEMPLATE_FILES:
        if (Path(folder) / name).is_file():
            return True
    for name in ("tokenizer_config.json", *PROCESSOR_FILES):
        file = Path(folder) / name
        if file.is_file() and json.loads(file.read_text()).get("chat_template"):
            return True
    return False


def _check_safetensors(file: Path) -> None:
    """Check that a file is as long as its header says (safetensors, "Format")."""
    size = os.path.getsize(file)
    with open(file, "rb") as stream:
        length = int.from_bytes(stream.read(_HEADER_START), "little")
        if size < _HEADER_START or length > size:
            raise StageError(f"{file}: no safetensors file ({size:,} bytes); fetch it again")
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            raise StageError(f"{file}: no safetensors file; fetch it again") from None
    ends = [value["data_offsets"][1] for key, value in header.items() if key != "__metadata__"]
    expected = _HEADER_START + length + max(ends, default=0)
    if size != expected:
        raise StageError(f"{file}: it has {size:,} bytes, not {expected:,}; fetch it again")


def _check_any(folder: str, names: tuple[str, ...], what: str) -> None:
    if not any((Path(folder) / name).is_file() for name in names):
        raise StageError(f"{folder}: no {what}: it has none of {', '.join(names)}")
