"""The vision tower (DaViT) on a CPU, for inference: the model's numbers in two thirds of its time.

On a CPU that time is spent on memory. At 768 pixels the first stage has 36,864 positions, and the
model allocates each intermediate result anew, writes it once and reads it once. Here the feature
map of an image stays in one tensor that the blocks change in place, a few positions at a time, so
that the intermediate results of a block fit into the caches. The layers are those of the loaded
model. DaViT: Ding et al., ECCV 2022; Florence-2 paper, section 3, "Vision encoder".

A feature map has the shape (rows, columns, channels).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch
    from transformers.models.florence2.modeling_florence2 import (
        Florence2VisionBackbone,
        Florence2VisionBlock,
        Florence2VisionChannelBlock,
        Florence2VisionSpatialBlock,
    )

_CHUNK = 1 << 21  # most numbers in an intermediate result


def vision_features(tower: Florence2VisionBackbone, pixels: torch.Tensor) -> torch.Tensor:
    """Compute what `tower(pixels).last_hidden_state` gives, up to rounding.

    Args:
        tower: the vision tower of a `Florence2ForConditionalGeneration`, on the CPU.
        pixels: (images, 3, height, width), float, normalised as by `images.pixel_values`.

    Returns:
        (images, channels, rows, columns), in the dtype of the tower.
    """
    import torch

    # One image at a time, so that one feature map at most is in the caches.
    results = [_image_features(tower, image) for image in pixels.split(1)]
    return torch.cat(results)


def _image_features(tower: Florence2VisionBackbone, states: torch.Tensor) -> torch.Tensor:
    """The features of one image.

    Args:
        tower: the vision tower.
        states: (1, 3, height, width).

    Returns:
        (1, channels, rows, columns).
    """
    # A `ModuleList` does not know the class of its members.
    stages = cast("Iterable[Iterable[Florence2VisionBlock]]", tower.blocks)
    for embed, blocks in zip(tower.convs, stages, strict=True):
        states = embed(states)
        feature_map = states.permute(0, 2, 3, 1).contiguous()[0]
        for block in blocks:
            spatial = block.spatial_block
            channel = block.channel_block
            _convolve(spatial.conv1, feature_map)
            _attend_in_windows(spatial, feature_map)
            _convolve(spatial.conv2, feature_map)
            _feed_forward(spatial, feature_map)
            _convolve(channel.conv1, feature_map)
            _attend_to_channels(channel, feature_map)
            _convolve(channel.conv2, feature_map)
            _feed_forward(channel, feature_map)
        states = feature_map[None].permute(0, 3, 1, 2)
    return states


def _convolve(convolution: torch.nn.Conv2d, feature_map: torch.Tensor) -> None:
    """Add the convolution of the map, (rows, columns, channels), to the map."""
    # The channels stay last in memory, so that neither permutation copies.
    channels_first = feature_map[None].permute(0, 3, 1, 2)
    convolved = convolution(channels_first)
    feature_map += convolved.permute(0, 2, 3, 1)[0]


def _feed_forward(
    block: Florence2VisionSpatialBlock | Florence2VisionChannelBlock, feature_map: torch.Tensor
) -> None:
    """Add the result of the feed-forward layers to the map, a few positions at a time.

    Each chunk is (positions, channels), and a view of the map.
    """
    layers = block.ffn
    chunk = max(_CHUNK // layers.fc1.out_features, 1)
    for positions in feature_map.flatten(0, 1).split(chunk):
        normalised = block.norm2(positions)
        projected = layers.fc1(normalised)
        inner = layers.activation_fn(projected)
        positions += layers.fc2(inner)


def _attend_in_windows(block: Florence2VisionSpatialBlock, feature_map: torch.Tensor) -> None:
    """Add attention within square windows, a few rows of windows at a time.

    Each strip is (rows, columns, channels), and a view of the map.
    """
    side = block.window_attn.window_size
    _, columns, channels = feature_map.shape
    # Numbers in the queries, keys and values of one row of windows.
    row_numbers = 3 * channels * side * columns
    window_rows = max(_CHUNK // row_numbers, 1)
    strip_rows = window_rows * side
    for strip in feature_map.split(strip_rows):
        strip += _window_attention(block, strip)


def _window_attention(block: Florence2VisionSpatialBlock, strip: torch.Tensor) -> torch.Tensor:
    """Attention within the windows of a strip.

    Args:
        block: the spatial block.
        strip: (rows, columns, channels).

    Returns:
        The same shape, to be added to the strip.
    """
    import torch

    attention = block.window_attn
    side = attention.window_size
    heads = attention.num_heads
    rows, columns, channels = strip.shape
    # The last windows are filled up with zeros, as in the model.
    padding = (0, 0, 0, -columns % side, 0, -rows % side)
    padded = torch.nn.functional.pad(block.norm1(strip), padding)
    windows = _cut_into_windows(padded, side)

    # Query, key and value are (windows, heads, positions, channels of a head).
    projected = attention.qkv(windows).view(-1, side**2, 3, heads, channels // heads)
    query, key, value = projected.permute(2, 0, 3, 1, 4).unbind()
    scale = attention.scale
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scale)
    # Back to (windows, positions, channels), the heads side by side.
    joined = attended.transpose(1, 2).reshape(windows.shape)
    output = attention.proj(joined)

    # The windows go back to their places, and the padding is cut off.
    down = padded.shape[0] // side
    across = padded.shape[1] // side
    grid = output.view(down, across, side, side, channels).transpose(1, 2)
    return grid.reshape(padded.shape)[:rows, :columns]


def _cut_into_windows(padded: torch.Tensor, side: int) -> torch.Tensor:
    """Cut a strip into square windows.

    Args:
        padded: (rows, columns, channels); the side divides rows and columns.
        side: of a window, in positions.

    Returns:
        (windows, positions of a window, channels).
    """
    rows, columns, channels = padded.shape
    down = rows // side
    across = columns // side
    # (windows down, windows across, rows of a window, columns of a window, channels)
    grid = padded.view(down, side, across, side, channels).transpose(1, 2)
    return grid.reshape(-1, side**2, channels)


def _attend_to_channels(block: Florence2VisionChannelBlock, feature_map: torch.Tensor) -> None:
    """Add attention among the channels of each group to the map.

    The products of queries and keys are summed over all positions before any value is weighed, so
    the map is read twice. Queries, keys and values are (positions, groups, channels of a group).
    """
    attention = block.channel_attn
    rows, columns, channels = feature_map.shape
    groups = attention.groups
    size = channels // groups
    chunk = max(_CHUNK // (3 * channels), 1)
    chunks = feature_map.flatten(0, 1).split(chunk)
    # One product for every two channels of a group.
    products = feature_map.new_zeros(groups, size, size)
    values: list[torch.Tensor] = []
    for positions in chunks:
        normalised = block.norm1(positions)
        projected = attention.qkv(normalised)
        grouped = projected.view(-1, 3, groups, size)
        query, key, value = grouped.unbind(1)
        products.baddbmm_(query.permute(1, 2, 0), key.transpose(0, 1))
        values.append(value.transpose(0, 1))

    count = rows * columns
    scaled = products * count**-0.5
    weights = scaled.softmax(-1).transpose(1, 2)
    for positions, value in zip(chunks, values, strict=True):
        weighed = value @ weights
        attended = weighed.transpose(0, 1).reshape(positions.shape)
        positions += attention.proj(attended)
