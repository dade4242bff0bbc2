"""The vision tower (DaViT, spec 3.2) on a CPU, for inference: the numbers of the model's own forward pass in two
thirds of its time.

That time goes into memory: at 768 pixels the first stage has 36,864 positions, and each of its intermediate results is
newly mapped, written once and read once. Here an image stays in one tensor that blocks change in place, a few positions
at a time, so that what is between two layers of a block fits the caches. The layers are the loaded model's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 21  # numbers in the widest intermediate result


def features(tower: Any, pixels: torch.Tensor) -> torch.Tensor:
    """(images, 3, height, width) -> (images, channels, rows, columns), as `tower(pixels).last_hidden_state`."""
    import torch

    return torch.cat([_image(tower, pixels[i : i + 1]) for i in range(len(pixels))])


def _image(tower: Any, states: torch.Tensor) -> torch.Tensor:
    for embed, blocks in zip(tower.convs, tower.blocks, strict=True):
        states = embed(states)
        places = states.permute(0, 2, 3, 1).contiguous()[0]  # (rows, columns, channels)
        for block in blocks:
            for part, attend in (
                (block.spatial_block, _attend_in_windows),
                (block.channel_block, _attend_to_channels),
            ):
                _convolve(part.conv1, places)
                attend(part, places)
                _convolve(part.conv2, places)
                _perceive(part, places)
        states = places[None].permute(0, 3, 1, 2)
    return states


def _convolve(convolution: Any, places: torch.Tensor) -> None:
    places += convolution(places[None].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)[
        0
    ]  # channels last, without a copy


def _perceive(block: Any, places: torch.Tensor) -> None:
    for some in places.flatten(0, 1).split(max(_CHUNK // block.ffn.fc1.out_features, 1)):
        some += block.ffn.fc2(block.ffn.activation_fn(block.ffn.fc1(block.norm2(some))))


def _attend_in_windows(block: Any, places: torch.Tensor) -> None:
    """Attention within square windows; the last ones are filled up with zeros, as in the model."""
    import torch

    attention, (_, columns, channels) = block.window_attn, places.shape
    side, heads = attention.window_size, attention.num_heads
    strips = max(_CHUNK // (3 * channels * side * columns), 1)
    for some in places.split(strips * side):
        rows = len(some)
        normed = torch.nn.functional.pad(
            block.norm1(some), (0, 0, 0, -columns % side, 0, -rows % side)
        )
        grid = (normed.shape[0] // side, normed.shape[1] // side)
        windows = (
            normed.view(grid[0], side, grid[1], side, channels)
            .transpose(1, 2)
            .reshape(-1, side**2, channels)
        )
        projected = attention.qkv(windows).view(-1, side**2, 3, heads, channels // heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind()
        found = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, scale=attention.scale
        )
        found = attention.proj(found.transpose(1, 2).reshape(windows.shape))
        found = found.view(*grid, side, side, channels).transpose(1, 2).reshape(normed.shape)
        some += found[:rows, :columns]


def _attend_to_channels(block: Any, places: torch.Tensor) -> None:
    """Attention among the channels of each group: their products are summed over all places first."""
    import torch

    attention, channels = block.channel_attn, places.shape[-1]
    groups, size = attention.groups, channels // attention.groups
    parts = places.flatten(0, 1).split(max(_CHUNK // (3 * channels), 1))
    products, values = places.new_zeros(groups, size, size), list[torch.Tensor]()
    for some in parts:
        query, key, value = attention.qkv(block.norm1(some)).view(-1, 3, groups, size).unbind(1)
        products.baddbmm_(query.permute(1, 2, 0), key.transpose(0, 1))
        values.append(value.transpose(0, 1))
    weights = (products * (places.shape[0] * places.shape[1]) ** -0.5).softmax(-1).transpose(1, 2)
    for some, value in zip(parts, values, strict=True):
        some += attention.proj((value @ weights).transpose(0, 1).reshape(some.shape))
