"""Florence-2 as the native class of `transformers`: created at a size, loaded and saved.

`nano` has its own small tokenizer and a checkpoint in this package. `base` and `large` take their
weights and tokenizer from a checkpoint in the native format: a folder or a hub name. What is saved
loads by plain `from_pretrained`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.florence.codec import BINS
from stages.florence.sizes import SHAPES
from stages.florence.tokenizer import ADDED_TOKENS, BOS, EOS, PAD, START, token_id
from stages.hub import hub_model, local_folder

if TYPE_CHECKING:
    import torch
    from transformers import (
        Florence2Config,
        Florence2ForConditionalGeneration,
        PreTrainedTokenizerFast,
    )

CHECKPOINT = Path(__file__).parent / "checkpoints" / "nano"

_VOCABULARY_BLOCK = 64  # the vocabulary is filled up to a multiple of this
_POSITION_STRENGTH = 3.5
_IDS: dict[str, Any] = {
    "bos_token_id": BOS,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "decoder_start_token_id": START,
}


@dataclass(frozen=True, slots=True)
class Florence:
    """A model and its tokenizer."""

    model: Florence2ForConditionalGeneration
    """The network, in the native class of `transformers`."""

    tokenizer: PreTrainedTokenizerFast
    """Its tokenizer, with the published added tokens."""

    @property
    def device(self) -> torch.device:
        return self.model.device


def create(size: str, tokenizer: PreTrainedTokenizerFast, seed: int) -> Florence:
    """Create a model of a size with random weights, on the CPU in float32.

    Raises:
        ValueError: there is no such size.
    """
    import torch
    from transformers import Florence2ForConditionalGeneration

    if size not in SHAPES:
        raise ValueError(f"{size}: no such size of Florence-2; known: {', '.join(SHAPES)}")
    torch.manual_seed(seed)
    model = Florence2ForConditionalGeneration(_config(size, tokenizer)).eval()
    model.generation_config.update(**_IDS, forced_bos_token_id=BOS)
    florence = Florence(model, tokenizer)
    if size == "nano":
        _start_coordinates(florence)
    return florence


def _config(size: str, tokenizer: PreTrainedTokenizerFast) -> Florence2Config:
    """The configuration of a size in the terms of `transformers`."""
    from transformers import Florence2Config

    shape = SHAPES[size].text
    blocks = -(-len(tokenizer) // _VOCABULARY_BLOCK)
    text_config = {
        "model_type": "bart",
        "vocab_size": blocks * _VOCABULARY_BLOCK,
        "d_model": shape.width,
        "encoder_layers": shape.encoder_layers,
        "decoder_layers": shape.decoder_layers,
        "encoder_attention_heads": shape.heads,
        "decoder_attention_heads": shape.heads,
        "encoder_ffn_dim": shape.feed_forward,
        "decoder_ffn_dim": shape.feed_forward,
        "max_position_embeddings": shape.max_positions,
        "dropout": shape.dropout,
        "attention_dropout": shape.dropout,
        "activation_dropout": shape.dropout,
        "init_std": shape.init_deviation,
        **_IDS,
        "forced_eos_token_id": EOS,
    }
    return Florence2Config(
        text_config=text_config,
        vision_config=dict(SHAPES[size].vision),
        image_token_id=token_id(tokenizer, "<image>"),
        **_IDS,
    )


def resolve(name: str) -> str:
    """Return the folder of a checkpoint in this package (`nano`), or any other name unchanged."""
    return str(CHECKPOINT) if name == "nano" else name


def located(name: str, revision: str) -> tuple[str, str]:
    """From where `transformers` loads a checkpoint: a folder or a hub name, and the revision.

    A hub model that is in the cache gives its folder there.
    """
    source = resolve(name)
    model = hub_model(source)
    if model is None:
        return source, revision
    revision = model.revision or revision
    folder = local_folder(model.repo, revision)
    return folder, revision


def load(name: str, revision: str | None = None) -> Florence:
    """Load a checkpoint in the native format onto the CPU, in float32.

    Args:
        name: a folder, a hub name (OWNER/NAME or OWNER/NAME@COMMIT), or `nano` for the checkpoint
            in this package.
        revision: branch, tag or commit on the hub, if the name has none; None is `main`.

    Raises:
        ValueError: there is no checkpoint, it has the authors' older format, or it lacks weights or
            tokens.
    """
    import torch
    from transformers import AutoTokenizer, Florence2ForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    source, revision = located(name, revision or "main")
    check_format(source, revision)
    # Its annotations do not know that it also returns what it has loaded.
    model_class: Any = Florence2ForConditionalGeneration
    model, loading = model_class.from_pretrained(
        source,
        revision=revision,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = sorted(loading["missing_keys"])
    if missing:
        # The library has filled them with random numbers.
        raise ValueError(f"{source}: its weights lack {len(missing)} tensors, such as {missing[0]}")
    tokenizer: Any = AutoTokenizer.from_pretrained(source, revision=revision)
    for token in (ADDED_TOKENS[0], "<loc_0>", "<loc_999>", ADDED_TOKENS[-1]):
        if token not in tokenizer.get_vocab():
            raise ValueError(f"{source}: its tokenizer has no {token}; it is not Florence-2's")
    return Florence(model.eval(), tokenizer)


def check_format(source: str, revision: str) -> None:
    """Check that a checkpoint is in the native format, which needs no remote code.

    Raises:
        ValueError: there is no checkpoint, or it has the authors' older format.
    """
    from transformers import PretrainedConfig

    source, revision = located(source, revision)
    try:
        config, _ = PretrainedConfig.get_config_dict(source, revision=revision)
    except OSError:
        config = {}
    if not config:
        raise ValueError(
            f"{source}: no Florence-2 checkpoint; give a folder with config.json or a hub name"
        )
    if config.get("model_type") != "florence2" or "auto_map" in config:
        raise ValueError(
            f"{source}: not in the native Florence-2 format of transformers (it may need remote "
            "code); use a converted one such as florence-community/Florence-2-base"
        )


def move_to_device(florence: Florence, device: str, dtype: str = "float32") -> None:
    """Move the model to `cpu`, `cuda` or `auto` (the GPU if there is one) and to a torch dtype."""
    import torch

    use_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    model: torch.nn.Module = florence.model
    model.to(device="cuda" if use_cuda else "cpu", dtype=getattr(torch, dtype))


def save(florence: Florence, folder: Path) -> None:
    """Write model and tokenizer as a folder for `from_pretrained`.

    `stages.florence.processor.save_processor` adds the processor.
    """
    florence.model.save_pretrained(folder)
    florence.tokenizer.save_pretrained(folder)


def _start_coordinates(florence: Florence) -> None:
    """Start the embeddings of locations and of image positions as sinusoids of their coordinate.

    A small model then need not learn 1,000 unrelated symbols: near coordinates start near each
    other, and image positions and location tokens share one code. All of it stays trainable.
    """
    import torch

    first = token_id(florence.tokenizer, "<loc_0>")
    tokens = florence.model.model.language_model.shared.weight
    positions = florence.model.model.multi_modal_projector.image_position_embed
    with torch.no_grad():
        bins = (torch.arange(BINS) + 0.5) / BINS
        tokens[first : first + BINS] = _sinusoids(bins, tokens.shape[1], tokens.std())
        # As strong as the features of the vision tower; if weaker, they would drown in those.
        strength = torch.tensor(_POSITION_STRENGTH)
        for table in (positions.row_embeddings.weight, positions.column_embeddings.weight):
            cells = (torch.arange(len(table)) + 0.5) / 8
            table.copy_(_sinusoids(cells, table.shape[1], strength))


def _sinusoids(coordinates: torch.Tensor, width: int, scale: torch.Tensor) -> torch.Tensor:
    """Sines and cosines (coordinates, width) at wavelengths from 4 down to 1/64.

    `coordinates` are shares of the image's side; `scale` is the root mean square of the result.
    """
    import torch

    wavelengths = torch.logspace(2, -6, width // 2, base=2)
    angles = 2 * torch.pi * coordinates[:, None] / wavelengths
    return scale * 2**0.5 * torch.cat([angles.sin(), angles.cos()], dim=1)
