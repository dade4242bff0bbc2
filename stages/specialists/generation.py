"""Greedy generation with `transformers`, with the probability of every token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch
    from transformers.generation.utils import GenerateDecoderOnlyOutput, GenerationMixin


@dataclass(frozen=True, slots=True)
class Generation:
    """The greedy answers of one batch; `steps` is the length of the longest."""

    sequences: torch.Tensor
    """(batch, length) int64 token ids, the prompt included where the model repeats it."""

    tokens: torch.Tensor
    """(batch, steps) int64 ids of the new tokens; what follows an end token is padding."""

    log_probabilities: torch.Tensor
    """(batch, steps) float32 natural logarithm of each new token's probability."""


def generate_greedily(
    model: GenerationMixin, inputs: Mapping[str, torch.Tensor], max_tokens: int
) -> Generation:
    """At most `max_tokens` new tokens for each row of `inputs`.

    Args:
        model: a model of `transformers` that generates text.
        inputs: the output of its processor: for each argument of the model a tensor (batch, ...),
            such as `input_ids` (batch, length) int64 and `pixel_values` (batch, 3, height, width).
        max_tokens: the most new tokens of a row.

    Returns:
        The answers, on the device of the model; `Generation` gives their shapes.
    """
    import torch

    with torch.inference_mode():
        generated = model.generate(
            **inputs,
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=True,
            output_logits=True,
        )
    # With an encoder the class is another one, which has these two fields, too.
    output = cast("GenerateDecoderOnlyOutput", generated)
    assert output.logits is not None
    distributions = torch.stack(output.logits, 1).float().log_softmax(-1)
    steps = distributions.shape[1]
    tokens = output.sequences[:, -steps:]
    log_probabilities = distributions.gather(2, tokens[..., None])[..., 0]
    return Generation(output.sequences, tokens, log_probabilities)
