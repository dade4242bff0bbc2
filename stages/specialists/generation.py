"""Greedy generation with `transformers`, with the probability of every token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


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
    model: Any, inputs: Mapping[str, torch.Tensor], max_tokens: int
) -> Generation:
    """At most `max_tokens` new tokens for each row of `inputs`.

    `model` is one of `transformers`, `inputs` the output of its processor.
    """
    import torch

    with torch.inference_mode():
        output = model.generate(
            **inputs,
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=True,
            output_logits=True,
        )
    distributions = torch.stack(output.logits, 1).float().log_softmax(-1)
    steps = distributions.shape[1]
    tokens = output.sequences[:, -steps:]
    log_probabilities = distributions.gather(2, tokens[..., None])[..., 0]
    return Generation(output.sequences, tokens, log_probabilities)
