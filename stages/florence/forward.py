"""The forward pass that training, scoring and generation share: one vision pass for many prompts.

A *row* is one prompt to one image. Rows are padded on the right and padding is masked out
everywhere, so the result of a row does not depend on its neighbours beyond rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.florence.codec import truncate_target
from stages.florence.images import pixel_values
from stages.florence.model import Florence
from stages.florence.tasks import LOCATIONS_PER_PLACE, Example, find_task
from stages.florence.tokenizer import EOS, PAD, START, token_id
from stages.florence.vision import vision_features

if TYPE_CHECKING:
    import torch

# Most numbers in the widest intermediate result of the encoder on a CPU. The allocator maps larger
# results anew each time, which costs more than smaller batches do.
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Encoded:
    """The encoder's output for some rows."""

    states: torch.Tensor
    """(rows, positions, width), float: image tokens, then the prompt's tokens."""

    mask: torch.Tensor
    """(rows, positions), int64: 1 for real positions, 0 for padding."""


def tokenise(florence: Florence, texts: Sequence[str], longest: int) -> list[list[int]]:
    """Return the ids of `<s> text </s>`, cut to `longest` tokens; the end token stays."""
    if not texts:
        return []
    rows = florence.tokenizer(list(texts)).input_ids
    return [_cut(ids, longest) for ids in rows]


def tokenise_targets(
    florence: Florence,
    examples: Sequence[Example],
    longest: int,
) -> list[list[int]]:
    """Return the ids of `<s> target </s>`, cut to `longest` tokens.

    A target with locations is cut after a whole place, a text anywhere.
    """
    rows = tokenise(florence, [example.target for example in examples], sys.maxsize)
    first = token_id(florence.tokenizer, "<loc_0>")
    result = []
    for ids, example in zip(rows, examples, strict=True):
        group = LOCATIONS_PER_PLACE.get(find_task(example.task).answer_kind)
        if group is None:
            result.append(_cut(ids, longest))
        else:
            result.append(truncate_target(ids, longest, group, first))
    return result


def _cut(ids: list[int], longest: int) -> list[int]:
    return ids if len(ids) <= longest else [*ids[: longest - 1], EOS]


def pad_ids(florence: Florence, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the ids as (rows, longest row), int64, padded on the right."""
    import torch

    width = max(len(row) for row in rows)
    table = []
    for row in rows:
        table.append([*row, *[PAD] * (width - len(row))])
    return torch.tensor(table, dtype=torch.long, device=florence.device)


def encode_images(
    florence: Florence,
    images: Sequence[np.ndarray],
    resolution: int,
) -> torch.Tensor:
    """Run the vision tower.

    Args:
        images: each (height, width, 3), uint8, RGB.
        resolution: side of the square that they are resized to, in pixels.

    Returns:
        Image tokens (images, tokens, width), in the model's dtype.
    """
    import torch

    model = florence.model
    values = pixel_values(images, resolution).to(model.device, model.dtype)
    if torch.is_grad_enabled() or not values.is_cpu:
        return model.get_image_features(values).pooler_output
    features = vision_features(model.model.vision_tower, values)
    return model.model.multi_modal_projector(features)


def encode_prompts(
    florence: Florence,
    features: torch.Tensor,
    images: Sequence[int],
    prompts: Sequence[Sequence[int]],
) -> Encoded:
    """Run the encoder over the image tokens and the prompt of every row.

    Args:
        features: (images, tokens, width), from `encode_images`.
        images: for each row, the number of its image.
        prompts: for each row, the ids of its prompt.
    """
    import torch

    ids = pad_ids(florence, prompts)
    words = florence.model.get_input_embeddings()(ids)
    image_tokens = features[torch.as_tensor(images, device=florence.device)]
    image_mask = torch.ones(image_tokens.shape[:2], dtype=torch.long, device=ids.device)
    mask = torch.cat([image_mask, (ids != PAD).long()], dim=1)
    inputs = torch.cat([image_tokens.to(words.dtype), words], dim=1)

    encoder = florence.model.model.language_model.encoder
    chunk = len(inputs)
    if inputs.is_cpu and not torch.is_grad_enabled():
        chunk = max(_CHUNK // (inputs.shape[1] * encoder.config.encoder_ffn_dim), 1)
    states = []
    for part, part_mask in zip(inputs.split(chunk), mask.split(chunk), strict=True):
        output = encoder(inputs_embeds=part, attention_mask=part_mask)
        states.append(output.last_hidden_state)
    return Encoded(torch.cat(states) if len(states) > 1 else states[0], mask)


def teacher_forced_logits(
    florence: Florence,
    encoded: Encoded,
    targets: Sequence[Sequence[int]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the decoder on whole targets, `<s> .. </s>`.

    Padding and the first token (`<s>` is always forced) are left out before the vocabulary is
    projected, which is most of the work of a small model's decoder.

    Returns:
        Logits (tokens, vocabulary), float32, of the tokens of all rows, one row after the other;
        and the ids (tokens,), int64, that stand there.
    """
    import torch

    labels = pad_ids(florence, targets)
    start = labels.new_full((len(targets), 1), START)
    output = florence.model.model.language_model.decoder(
        input_ids=torch.cat([start, labels[:, :-1]], dim=1),
        encoder_hidden_states=encoded.states,
        encoder_attention_mask=encoded.mask,
        use_cache=False,
    )
    scored = labels != PAD
    scored[:, 0] = False
    logits = florence.model.lm_head(output.last_hidden_state[scored]).float()
    return logits, labels[scored]
