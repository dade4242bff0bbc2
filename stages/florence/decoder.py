"""The text decoder one token at a time, with caches that are not copied at every step.

The layers are those of the loaded model, used as they are. A question has `width` rows (its beams).
They share the keys and values of its image and prompt, which are projected once, and are read once
a step whatever the width.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stages.florence.forward import Encoded
from stages.florence.model import Florence
from stages.florence.tokenizer import START

if TYPE_CHECKING:
    import torch
    from transformers.models.bart.modeling_bart import BartAttention, BartDecoder, BartDecoderLayer

_FEW_ROWS = 64
_FIRST_POSITIONS = 32  # positions in the caches at first; they double when they are full


class Decoder:
    """The running answers of some questions.

    They begin with the start token, so the first token to pass to `step` is `<s>`. The rows of a
    question stand next to each other.

    Attributes:
        length: tokens that every row has so far.
        mask: (questions, 1, 1, positions), bool: the real positions of image and prompt. None if
            nothing is padded.
        cross_caches: for each layer the keys and values of image and prompt, each (questions,
            heads, positions, size of a head).
        self_caches: for each layer (2, rows, heads, positions, size of a head): the keys and the
            values of the tokens so far, with room for more.
    """

    def __init__(self, florence: Florence, encoded: Encoded, width: int = 1) -> None:
        """Prepare the caches.

        Args:
            florence: the model.
            encoded: the encoder's output, one row for each question.
            width: rows (beams) of each question.
        """
        decoder: BartDecoder = florence.model.model.language_model.decoder
        self.decoder = decoder
        self.head = florence.model.lm_head
        self.width = width
        self.length = 0
        # A `ModuleList` does not know the class of its members.
        self.layers = cast("list[BartDecoderLayer]", list(decoder.layers))
        self.mask = None
        if not bool(encoded.mask.all()):
            self.mask = encoded.mask.bool()[:, None, None]
        self.cross_caches = [self._cross_cache(layer, encoded.states) for layer in self.layers]
        rows = len(encoded.states) * width
        attention = self.layers[0].self_attn
        shape = (2, rows, attention.num_heads, _FIRST_POSITIONS, attention.head_dim)
        self.self_caches = [encoded.states.new_empty(shape) for _ in self.layers]
        self._advance(encoded.mask.new_full((rows,), START))

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Append a token to every row.

        Args:
            ids: (rows,), int64.

        Returns:
            Logits (rows, vocabulary), float32, of the token after it.
        """
        return apply_linear(self.head, self._advance(ids)).float()

    def keep(self, questions: torch.Tensor | None, rows: torch.Tensor) -> None:
        """Go on with some rows, in a new order.

        Args:
            questions: (questions,), int64; numbers of those that stay. None keeps all.
            rows: (rows,), int64; numbers of the rows that stay, all rows of a question together.
        """
        import torch

        ahead = max(_FIRST_POSITIONS, self.self_caches[0].shape[3] - self.length)
        padding = (0, 0, 0, ahead)
        caches = []
        for self_cache in self.self_caches:
            used = self_cache[:, rows, :, : self.length]
            caches.append(torch.nn.functional.pad(used, padding))
        self.self_caches = caches
        if questions is None:
            return
        self.cross_caches = [
            (keys[questions], values[questions]) for keys, values in self.cross_caches
        ]
        if self.mask is not None:
            self.mask = self.mask[questions]

    def _advance(self, ids: torch.Tensor) -> torch.Tensor:
        """Run the layers on one token of every row.

        Args:
            ids: (rows,), int64.

        Returns:
            The last hidden states: (rows, width of the model).
        """
        self._grow()
        positions = self.decoder.embed_positions
        position = positions.weight[self.length + positions.offset]
        states = self.decoder.layernorm_embedding(self.decoder.embed_tokens(ids) + position)
        self.length += 1
        for number, layer in enumerate(self.layers):
            attended = self._self_attention(layer.self_attn, states, self.self_caches[number])
            states = layer.self_attn_layer_norm(states + attended)
            keys, values = self.cross_caches[number]
            attended = self._cross_attention(layer.encoder_attn, states, keys, values)
            states = layer.encoder_attn_layer_norm(states + attended)
            inner = layer.activation_fn(apply_linear(layer.fc1, states))
            states = layer.final_layer_norm(states + apply_linear(layer.fc2, inner))
        return states

    def _grow(self) -> None:
        """Double the caches if they are full."""
        import torch

        if self.length == self.self_caches[0].shape[3]:
            self.self_caches = [
                torch.cat([old, torch.empty_like(old)], dim=3) for old in self.self_caches
            ]

    def _cross_cache(
        self, layer: BartDecoderLayer, states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (questions, heads, positions, size) of the encoder's states."""
        attention = layer.encoder_attn
        shape = (*states.shape[:2], attention.num_heads, attention.head_dim)
        keys = attention.k_proj(states).view(shape).transpose(1, 2)
        values = attention.v_proj(states).view(shape).transpose(1, 2)
        return keys.contiguous(), values.contiguous()

    def _self_attention(
        self,
        attention: BartAttention,
        states: torch.Tensor,
        self_cache: torch.Tensor,
    ) -> torch.Tensor:
        """Attention to the tokens so far, this one included; its key and value enter the cache.

        Args:
            attention: the layer's module.
            states: (rows, width of the model).
            self_cache: the layer's part of `self_caches`.

        Returns:
            (rows, width of the model).
        """
        import torch

        shape = (len(states), attention.num_heads, attention.head_dim)
        place = self.length - 1
        self_cache[0, :, :, place] = apply_linear(attention.k_proj, states).reshape(shape)
        self_cache[1, :, :, place] = apply_linear(attention.v_proj, states).reshape(shape)
        keys, values = self_cache[:, :, :, : self.length]
        query = apply_linear(attention.q_proj, states).contiguous().view(shape)[:, :, None]
        attended = torch.nn.functional.scaled_dot_product_attention(
            query,
            keys,
            values,
            scale=attention.scaling,
        )
        return apply_linear(attention.out_proj, attended.reshape(states.shape))

    def _cross_attention(
        self,
        attention: BartAttention,
        states: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        """Attention to image and prompt, all rows of a question at once.

        Args:
            attention: the layer's module.
            states: (rows, width of the model).
            keys: (questions, heads, positions, size of a head).
            values: (questions, heads, positions, size of a head).

        Returns:
            (rows, width of the model).
        """
        import torch

        shape = (-1, self.width, attention.num_heads, attention.head_dim)
        query = apply_linear(attention.q_proj, states).contiguous().view(shape).transpose(1, 2)
        attended = torch.nn.functional.scaled_dot_product_attention(
            query,
            keys,
            values,
            attn_mask=self.mask,
            scale=attention.scaling,
        )
        attended = attended.transpose(1, 2).reshape(states.shape)
        return apply_linear(attention.out_proj, attended)


def apply_linear(linear: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    """Compute `linear(rows)`: (rows, inputs) to (rows, outputs), in the layer's dtype.

    For few rows on a CPU the factors are multiplied in the order that is faster there.
    """
    import torch

    if not rows.is_cpu or len(rows) > _FEW_ROWS or not _weights_first():
        return linear(rows)
    if linear.bias is None:
        return (linear.weight @ rows.t()).t()
    return torch.addmm(linear.bias[:, None], linear.weight, rows.t()).t()


@cache
def _weights_first() -> bool:
    """Whether few rows are multiplied faster with the weights as the first factor.

    MKL then takes two thirds of the time on CPUs of Intel, but twice the time on those of AMD. We
    ask for the maker instead of measuring: the order decides the last digits, and those must not
    change from run to run.
    """
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
