"""Published checkpoints: where a model comes from, and how it is loaded with `transformers`.

Weights are read from a local folder, or by hub name at a pinned revision, as safetensors and
without remote code. A checkpoint that cannot be loaded, or has the wrong architecture, is a
`StageError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from stages.base import CONTENT, StageError, is_out_of_memory, no_effect
from stages.checkpoints import CheckpointNeeds, check_folder
from stages.hub import is_commit, local_folder

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedConfig:
    """Settings of every stage with a model of `transformers`."""

    model: str = field(default="", metadata=CONTENT)
    """Folder or hub name of the checkpoint."""

    revision: str = ""
    """Commit of a hub name, 40 hexadecimal digits."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the model; `auto` is a GPU if there is one."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights."""

    rows: int = 16
    """Number of images, crops or prompts that go through the model at once."""

    def without_effect(self) -> Iterator[str]:
        if self.model and Path(self.model).is_dir():
            reason = "the model is a local folder; give a hub name, or leave revision out"
            yield from no_effect(self, ("revision",), reason)


class AutoClass(Protocol):
    """An auto class of `transformers`: the checkpoint decides which class the result has."""

    def from_pretrained(self, pretrained_model_name_or_path: str, **settings: object) -> Any: ...


def load_pretrained(auto_class: AutoClass, config: PretrainedConfig) -> Any:
    """The model, processor or tokenizer of a checkpoint, by an auto class of `transformers`.

    A model is on its device, in eval mode. Raises StageError if it cannot be loaded.
    """
    from safetensors import SafetensorError

    _check_source(config)
    try:
        if hasattr(auto_class, "from_config"):
            return _load_model(auto_class, config)
        name = local_folder(config.model, config.revision)
        return auto_class.from_pretrained(name, revision=config.revision or None)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        # These messages may be several paragraphs long; the first line says what is wrong.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise StageError(f"{_source(config)}: {reason}") from error


def _load_model(auto_class: AutoClass, config: PretrainedConfig) -> Any:
    """The model of a checkpoint on its device, in eval mode."""
    import torch

    model, loading = auto_class.from_pretrained(
        local_folder(config.model, config.revision),
        revision=config.revision or None,
        use_safetensors=True,
        dtype=getattr(torch, config.dtype),
        output_loading_info=True,
    )
    missing = sorted(loading["missing_keys"])
    if missing:
        # The library would fill them with random numbers.
        raise ValueError(
            f"its weights lack {len(missing)} tensors of a {type(model).__name__}, "
            f"such as {missing[0]}"
        )
    return model.to(choose_device(config)).eval()


def choose_device(config: PretrainedConfig) -> torch.device:
    """The device of a stage's model; raises StageError if it asks for a GPU and there is none."""
    import torch

    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise StageError("device=cuda: this process sees no GPU; set device to auto or cpu")
    use_gpu = has_gpu and config.device != "cpu"
    return torch.device("cuda" if use_gpu else "cpu")


def wrong_architecture(config: PretrainedConfig, model: object, needed: str) -> StageError:
    """The error for a checkpoint that was loaded, but is of no use to the stage."""
    name = type(model).__name__
    return StageError(f"{_source(config)}: it is a {name}, this stage needs {needed}")


def check_pretrained(config: PretrainedConfig, needs: CheckpointNeeds) -> dict[str, Any]:
    """Check the files of a checkpoint without loading it; see `stages.base.Stage`.

    Returns:
        The values of its config.json; empty for a hub model that is not here.

    Raises:
        StageError: it is not what the stage needs.
    """
    _check_source(config)
    folder = local_folder(config.model, config.revision)
    if not Path(folder).is_dir():
        return {}
    return check_folder(folder, needs)


def probe(config: PretrainedConfig, run: Callable[[], object]) -> None:
    """Run a stage once on a small image, so that a model it cannot use is told when it is loaded.

    For example, the processor makes images of another size than the model takes.

    Raises:
        StageError: the model and its processor or tokenizer do not fit each other.
    """
    try:
        run()
    except (RuntimeError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise StageError(
            f"{_source(config)}: it fails on a grey image ({type(error).__name__}: {reason}): "
            "its weights, processor and tokenizer do not fit each other, or this stage"
        ) from error


def _check_source(config: PretrainedConfig) -> None:
    """Checks that the checkpoint is a folder, or is named with a commit."""
    if not config.model:
        raise StageError("no model given: set `model` to a folder or a hub name")
    if not is_commit(config.revision) and not Path(config.model).is_dir():
        raise StageError(
            f"{_source(config)}: no such folder, and a hub name needs a commit: "
            "set `revision` to its 40 hexadecimal digits (a branch moves, and the labels with it)"
        )


def _source(config: PretrainedConfig) -> str:
    """The checkpoint as error messages name it."""
    return f"model {config.model!r} at revision {config.revision!r}"
