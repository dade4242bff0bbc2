"""Florence-2 as the native `transformers` class: made at a size, loaded, saved, and its two input encodings.

`nano` is for CPUs and has its own small byte-level BPE; `base` and `large` have the published shapes (spec
3.2) and take their weights and tokenizer from a checkpoint in the native format, a folder or a hub name.
Every tokenizer has the published order of added tokens (spec 4.5). What is saved loads by plain
`from_pretrained`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import Florence2ForConditionalGeneration, PreTrainedTokenizerFast

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
CHECKPOINT = Path(__file__).parent / "checkpoints" / "nano"

_NAMES = ("od", "ocr")
_TAGS = ("cap", "ncap", "dcap", "grounding", "seg")
ADDED_TOKENS = (
    *(f"<{slash}{name}>" for name in _NAMES for slash in ("", "/")),
    *(f"<loc_{i}>" for i in range(1000)),
    *(f"<{slash}{name}>" for name in _TAGS for slash in ("", "/")),
    "<sep>",
    *(
        f"<{slash}{name}>"
        for name in ("region_cap", "region_to_desciption", "proposal", "poly")
        for slash in ("", "/")
    ),
    "<and>",
    "<image>",
)

_IDS: dict[str, Any] = {
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
_CONTROLS = ("<s>", "<pad>", "</s>", "<unk>")

SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "nano": {
        "vision": {
            "depths": [1, 1, 2],
            "patch_size": [7, 3, 3],
            "patch_stride": [4, 2, 1],
            "patch_padding": [3, 1, 1],
            "patch_prenorm": [False, True, True],
            "embed_dim": [32, 64, 128],
            "num_heads": [2, 4, 8],
            "num_groups": [2, 4, 8],
            "window_size": 8,
            "mlp_ratio": 2.0,
            "drop_path_rate": 0.0,
            "projection_dim": 128,
            "initializer_range": 0.06,
        },
        "text": {
            "d_model": 128,
            "layers": (1, 2),
            "heads": 4,
            "ffn": 384,
            "max_position_embeddings": 512,
            "dropout": 0.0,
            "init_std": 0.09,
        },
    },
    "base": {
        "vision": {
            "embed_dim": [128, 256, 512, 1024],
            "num_heads": [4, 8, 16, 32],
            "num_groups": [4, 8, 16, 32],
            "projection_dim": 768,
        },
        "text": {
            "d_model": 768,
            "layers": (6, 6),
            "heads": 12,
            "ffn": 3072,
            "max_position_embeddings": 1024,
            "dropout": 0.1,
            "init_std": 0.02,
        },
    },
    "large": {
        "vision": {
            "embed_dim": [256, 512, 1024, 2048],
            "num_heads": [8, 16, 32, 64],
            "num_groups": [8, 16, 32, 64],
            "projection_dim": 1024,
        },
        "text": {
            "d_model": 1024,
            "layers": (12, 12),
            "heads": 16,
            "ffn": 4096,
            "max_position_embeddings": 4096,
            "dropout": 0.1,
            "init_std": 0.02,
        },
    },
}

RESOLUTIONS = {
    "nano": 64,
    "base": 768,
    "large": 768,
}  # pixels of a side at which each size is meant to look


@dataclass(frozen=True, slots=True)
class Florence:
    """A model and its tokenizer."""

    model: Florence2ForConditionalGeneration
    tokenizer: PreTrainedTokenizerFast

    @property
    def device(self) -> torch.device:
        return self.model.device


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `vocabulary` tokens learned from `texts`, with the added tokens behind it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_CONTROLS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    fast.add_special_tokens({"additional_special_tokens": list(ADDED_TOKENS)})
    return fast


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def create(size: str, tokenizer: PreTrainedTokenizerFast, seed: int) -> Florence:
    """A model of this size with fresh weights."""
    import torch
    from transformers import Florence2Config, Florence2ForConditionalGeneration

    if size not in SIZES:
        raise ValueError(f"{size}: no such size of Florence-2; known: {', '.join(SIZES)}")
    text = SIZES[size]["text"]
    vocabulary = -(-len(tokenizer) // 64) * 64
    text_config = {
        "model_type": "bart",
        "vocab_size": vocabulary,
        "d_model": text["d_model"],
        "encoder_layers": text["layers"][0],
        "decoder_layers": text["layers"][1],
        "encoder_attention_heads": text["heads"],
        "decoder_attention_heads": text["heads"],
        "encoder_ffn_dim": text["ffn"],
        "decoder_ffn_dim": text["ffn"],
        "max_position_embeddings": text["max_position_embeddings"],
        "dropout": text["dropout"],
        "attention_dropout": text["dropout"],
        "activation_dropout": text["dropout"],
        "init_std": text["init_std"],
        **_IDS,
        "forced_eos_token_id": 2,
    }
    config = Florence2Config(
        text_config=text_config,
        vision_config=dict(SIZES[size]["vision"]),
        image_token_id=token_id(tokenizer, "<image>"),
        **_IDS,
    )
    torch.manual_seed(seed)
    model = Florence2ForConditionalGeneration(config).eval()
    model.generation_config.update(**_IDS, forced_bos_token_id=0)
    florence = Florence(model, tokenizer)
    if size == "nano":
        _start_coordinates(florence)
    return florence


def resolve(name: str) -> str:
    """The folder of a checkpoint that this package brings (`nano`); any other name stands for itself."""
    return str(CHECKPOINT) if name == "nano" else name


def load(name: str, revision: str | None = None) -> Florence:
    """A checkpoint in the native format: a folder, a hub name, or `nano` for the one beside this file; float32.

    Raises:
        ValueError: there is none, or it is in the authors' older format that needs remote code.
    """
    import torch
    from transformers import AutoTokenizer, Florence2ForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    source, revision = resolve(name), revision or "main"
    check_format(source, revision)
    model = Florence2ForConditionalGeneration.from_pretrained(
        source, revision=revision, dtype=torch.float32, use_safetensors=True
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(source, revision=revision)
    return Florence(model.eval(), tokenizer)


def check_format(source: str, revision: str) -> None:
    from transformers import PretrainedConfig

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
            f"{source}: not in the native Florence-2 format of transformers (it may need remote code); "
            "use a converted one such as florence-community/Florence-2-base"
        )


def place(florence: Florence, device: str, dtype: str = "float32") -> None:
    """Moves the model; device `auto` is the GPU when there is one."""
    import torch

    model: torch.nn.Module = florence.model
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    model.to(device="cuda" if cuda else "cpu", dtype=getattr(torch, dtype))


def save(florence: Florence, folder: Path) -> None:
    florence.model.save_pretrained(folder)
    florence.tokenizer.save_pretrained(folder)


def pixels(images: Sequence[np.ndarray], resolution: int) -> torch.Tensor:
    """(n, 3, resolution, resolution): resized without keeping the aspect ratio, normalised (spec 6.1).

    Shrinking averages areas: at 64 pixels the released bicubic without a low-pass would alias.
    """
    import torch

    def prepare(image: np.ndarray) -> np.ndarray:
        shrinking = min(image.shape[:2]) > resolution
        interpolation = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
        resized = cv2.resize(image, (resolution, resolution), interpolation=interpolation)
        return ((resized.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)

    return torch.from_numpy(np.stack([prepare(image) for image in images]))


def _start_coordinates(florence: Florence) -> None:
    """Starts location tokens and the positions of image tokens as sinusoids of their coordinate.

    A small model then has not to learn 1,000 unrelated symbols: near coordinates start near each other, and
    both sides speak the same code. All of it stays trainable.
    """
    import torch

    model, tokenizer = florence.model, florence.tokenizer
    first = token_id(tokenizer, "<loc_0>")
    shared = model.model.language_model.shared.weight
    positions = model.model.multi_modal_projector.image_position_embed
    with torch.no_grad():
        shared[first : first + 1000] = _sinusoids(
            (torch.arange(1000) + 0.5) / 1000, shared.shape[1], shared.std()
        )
        for table in (positions.row_embeddings.weight, positions.column_embeddings.weight):
            scale = torch.tensor(
                3.5
            )  # as strong as what the vision tower says, or it is not heard beside it
            table.copy_(_sinusoids((torch.arange(len(table)) + 0.5) / 8, table.shape[1], scale))


def _sinusoids(coordinates: torch.Tensor, width: int, scale: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of coordinates in 0..1 at wavelengths from 4 down to 1/64."""
    import torch

    wavelengths = torch.logspace(2, -6, width // 2, base=2)
    angles = 2 * torch.pi * coordinates[:, None] / wavelengths
    return scale * 2**0.5 * torch.cat([angles.sin(), angles.cos()], dim=1)
