"""The text decoder one token at a time, on caches that are not copied at every step.

The layers are those of the loaded model, used as they are. A question has `width` rows (its beams), which share the
keys and values of its image and prompt: projected once, read once a step whatever the width.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.florence.forward import START, Encoded
from stages.florence.model import Florence

if TYPE_CHECKING:
    import torch

_FEW = 64  # rows
_BLOCK = 32  # positions by which the caches first grow, then they double


class Decoder:
    """Answers under way: `step` goes on with a token, `keep` lets rows leave or change places. They have begun with the
    start token; the first to give is `<s>`."""

    def __init__(self, florence: Florence, encoded: Encoded, width: int = 1) -> None:
        decoder = florence.model.model.language_model.decoder
        self.decoder, self.head, self.width, self.length = decoder, florence.model.lm_head, width, 0
        layers: Any = decoder.layers
        self.layers = list(layers)
        self.mask = None if bool(encoded.mask.all()) else encoded.mask.bool()[:, None, None]
        self.sight = [self._sight(layer.encoder_attn, encoded.states) for layer in self.layers]
        heads, size = self.layers[0].self_attn.num_heads, self.layers[0].self_attn.head_dim
        rows = len(encoded.states) * width
        self.past = [encoded.states.new_empty(2, rows, heads, _BLOCK, size) for _ in self.layers]
        self._advance(encoded.mask.new_full((rows,), START))

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) of what follows `ids`, the next token of every row."""
        return project(self.head, self._advance(ids)).float()

    def _advance(self, ids: torch.Tensor) -> torch.Tensor:
        import torch

        if self.length == self.past[0].shape[3]:
            self.past = [torch.cat([past, torch.empty_like(past)], dim=3) for past in self.past]
        positions = self.decoder.embed_positions
        place = positions.weight[self.length + positions.offset]
        states = self.decoder.layernorm_embedding(self.decoder.embed_tokens(ids) + place)
        self.length += 1
        for layer, past, sight in zip(self.layers, self.past, self.sight, strict=True):
            states = layer.self_attn_layer_norm(
                states + self._recall(layer.self_attn, states, past)
            )
            states = layer.encoder_attn_layer_norm(
                states + self._look(layer.encoder_attn, states, *sight)
            )
            inner = layer.activation_fn(project(layer.fc1, states))
            states = layer.final_layer_norm(states + project(layer.fc2, inner))
        return states

    def keep(self, questions: torch.Tensor | None, rows: torch.Tensor) -> None:
        """Goes on with these rows, in this order; `questions` are the ones that stay (None: all)."""
        import torch

        ahead = max(_BLOCK, self.past[0].shape[3] - self.length)
        pad = torch.nn.functional.pad
        self.past = [pad(past[:, rows, :, : self.length], (0, 0, 0, ahead)) for past in self.past]
        if questions is not None:
            self.sight = [(keys[questions], values[questions]) for keys, values in self.sight]
            self.mask = None if self.mask is None else self.mask[questions]

    def _sight(self, attention: Any, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (questions, heads, positions, size) of what the encoder says."""
        shape = (*states.shape[:2], attention.num_heads, attention.head_dim)
        keys, values = (
            p(states).view(shape).transpose(1, 2) for p in (attention.k_proj, attention.v_proj)
        )
        return keys.contiguous(), values.contiguous()

    def _recall(self, attention: Any, states: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        """Attention to the tokens so far, this one included."""
        import torch

        shape = (len(states), attention.num_heads, attention.head_dim)
        for held, linear in zip(past, (attention.k_proj, attention.v_proj), strict=True):
            held[:, :, self.length - 1] = project(linear, states).reshape(shape)
        keys, values = past[:, :, :, : self.length]
        query = project(attention.q_proj, states).contiguous().view(shape)[:, :, None]
        found = torch.nn.functional.scaled_dot_product_attention(
            query, keys, values, scale=attention.scaling
        )
        return project(attention.out_proj, found.reshape(states.shape))

    def _look(
        self, attention: Any, states: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Attention to image and prompt, all rows of a question at once."""
        import torch

        shape = (-1, self.width, attention.num_heads, attention.head_dim)
        query = project(attention.q_proj, states).contiguous().view(shape).transpose(1, 2)
        found = torch.nn.functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=self.mask, scale=attention.scaling
        )
        return project(attention.out_proj, found.transpose(1, 2).reshape(states.shape))


def project(linear: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    """`linear(rows)`, for a few rows in the order of factors that is faster here."""
    import torch

    if not rows.is_cpu or len(rows) > _FEW or not _weights_first():
        return linear(rows)
    if linear.bias is None:
        return (linear.weight @ rows.t()).t()
    return torch.addmm(linear.bias[:, None], linear.weight, rows.t()).t()


@cache
def _weights_first() -> bool:
    """MKL multiplies a few rows half again as fast on Intel's CPUs when the weights come first, on AMD's half as fast.
    Asked of the maker, not of a clock: the order decides the last digits, which must not change from run to run."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
