"""One vision pass per image for any number of prompts: the forward pass that training, scoring and generation
share.

A *row* is one prompt to one image. Rows are padded on the right; padding is masked out everywhere, so a row's
result does not depend on its neighbours beyond rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.florence import vision
from stages.florence.codec import whole
from stages.florence.model import Florence, pixels, token_id
from stages.florence.tasks import GROUPS, Pair, task

if TYPE_CHECKING:
    import torch

PAD, BOS, EOS, START = 1, 0, 2, 2  # the published ids (spec 3.2)
_CHUNK = (
    1 << 22
)  # numbers in the encoder's widest intermediate result on a CPU: larger ones are mapped anew each time


@dataclass(frozen=True, slots=True)
class Encoded:
    """The encoder's states of some rows and the mask of their real positions."""

    states: torch.Tensor
    mask: torch.Tensor

    def select(self, rows: torch.Tensor) -> Encoded:
        return Encoded(self.states[rows], self.mask[rows])


def tokenise(florence: Florence, texts: Sequence[str], longest: int) -> list[list[int]]:
    """`<s> text </s>` ids, cut to `longest` (the end token stays)."""
    found = florence.tokenizer(list(texts)).input_ids if texts else []
    return [ids if len(ids) <= longest else [*ids[: longest - 1], EOS] for ids in found]


def tokenise_targets(florence: Florence, pairs: Sequence[Pair], longest: int) -> list[list[int]]:
    """`<s> target </s>` ids, cut to `longest` after a whole place; a text is cut anywhere."""
    groups = [GROUPS.get(task(pair.task).answer) for pair in pairs]
    ids = tokenise(florence, [pair.target for pair in pairs], sys.maxsize)
    first = token_id(florence.tokenizer, "<loc_0>")
    return [
        whole(row, longest, group, first)
        if group
        else [*row[: longest - 1], EOS]
        if len(row) > longest
        else row
        for row, group in zip(ids, groups, strict=True)
    ]


def padded(florence: Florence, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    import torch

    width = max(map(len, rows))
    table = [[*row, *[PAD] * (width - len(row))] for row in rows]
    return torch.tensor(table, dtype=torch.long, device=florence.device)


def look(florence: Florence, images: Sequence[np.ndarray], resolution: int) -> torch.Tensor:
    """Image tokens, (images, tokens, width)."""
    import torch

    model = florence.model
    values = pixels(images, resolution).to(model.device, model.dtype)
    if torch.is_grad_enabled() or not values.is_cpu:
        return model.get_image_features(values).pooler_output
    return model.model.multi_modal_projector(vision.features(model.model.vision_tower, values))


def encode(
    florence: Florence,
    features: torch.Tensor,
    images: Sequence[int],
    prompts: Sequence[Sequence[int]],
) -> Encoded:
    """Row i asks `prompts[i]` (ids) of image number `images[i]`: encoder over [image tokens, prompt]."""
    import torch

    ids = padded(florence, prompts)
    words = florence.model.get_input_embeddings()(ids)
    sight = features[torch.as_tensor(images, device=florence.device)]
    mask = torch.cat(
        [torch.ones(sight.shape[:2], dtype=torch.long, device=ids.device), (ids != PAD).long()],
        dim=1,
    )
    inputs = torch.cat([sight.to(words.dtype), words], dim=1)
    encoder = florence.model.model.language_model.encoder
    few = len(inputs)
    if inputs.is_cpu and not torch.is_grad_enabled():
        few = max(_CHUNK // (inputs.shape[1] * encoder.config.encoder_ffn_dim), 1)
    parts = zip(inputs.split(few), mask.split(few), strict=True)
    states = [
        encoder(inputs_embeds=part, attention_mask=real).last_hidden_state for part, real in parts
    ]
    return Encoded(torch.cat(states) if len(states) > 1 else states[0], mask)


def target_logits(
    florence: Florence, encoded: Encoded, targets: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Teacher forcing on `targets` (whole `<s> .. </s>` ids): the logits at every real position but the first
    (`<s>` is always forced), row after row, and the ids that stand there.

    The vocabulary is projected at real positions only, which is most of a small model's decoder.
    """
    import torch

    labels = padded(florence, targets)
    start = labels.new_full((len(targets), 1), START)
    states = florence.model.model.language_model.decoder(
        input_ids=torch.cat([start, labels[:, :-1]], dim=1),
        encoder_hidden_states=encoded.states,
        encoder_attention_mask=encoded.mask,
        use_cache=False,
    ).last_hidden_state
    real = labels != PAD
    real[:, 0] = False
    return florence.model.lm_head(states[real]).float(), labels[real]
