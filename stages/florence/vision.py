"""The vision tower (DaViT) on a CPU, for inference: the model's numbers in two thirds of its time.

On a CPU that time is spent on memory. At 768 pixels the first stage has 36,864 positions, and the
model allocates each intermediate result anew, writes it once and reads it once. Here the feature
map of an image stays in one tensor that the blocks change in place, a few positions at a time, so
that the intermediate results of a block fit into the caches. The layers are those of the loaded
model. DaViT: Ding et al., ECCV 2022; Florence-2 paper, section 3.2.

A feature map has the shape (rows, columns, channels).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 21  # most numbers in an intermediate result


def vision_features(tower: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Compute what `tower(pixels).last_hidden_state` gives.

    Args:
        tower: the vision tower of a `Florence2ForConditionalGeneration`, on the CPU.
        pixels: (images, 3, height, width), float, normalised as by `images.pixel_values`.

    Returns:
        (images, channels, rows, columns), in the dtype of the tower.
    """
    import torch

    results = [_image_features(tower, pixels[i : i + 1]) for i in range(len(pixels))]
    return torch.cat(results)


def _image_features(tower: Any, states: torch.Tensor) -> torch.Tensor:
    """The features of one image.

    Args:
        tower: the vision tower.
        states: (1, 3, height, width).

    Returns:
        (1, channels, rows, columns).
    """
    for embed, blocks in zip(tower.convs, tower.blocks, strict=True):
        states = embed(states)
        feature_map = states.permute(0, 2, 3, 1).contiguous()[0]
        for block in blocks:
            spatial, channel = block.spatial_block, block.channel_block
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


def _convolve(convolution: Any, feature_map: torch.Tensor) -> None:
    """Add the convolution of the map to the map."""
    # The channels stay last in memory, so that neither permutation copies.
    convolved = convolution(feature_map[None].permute(0, 3, 1, 2))
    feature_map += convolved.permute(0, 2, 3, 1)[0]


def _feed_forward(block: Any, feature_map: torch.Tensor) -> None:
    """Add the result of the feed-forward layers to the map, a few positions at a time.

    Each chunk is (positions, channels), and a view of the map.
    """
    chunk = max(_CHUNK // block.ffn.fc1.out_features, 1)
    for positions in feature_map.flatten(0, 1).split(chunk):
        inner = block.ffn.activation_fn(block.ffn.fc1(block.norm2(positions)))
        positions += block.ffn.fc2(inner)


def _attend_in_windows(block: Any, feature_map: torch.Tensor) -> None:
    """Add attention within square windows, a few rows of windows at a time.

    Each strip is (rows, columns, channels), and a view of the map.
    """
    side = block.window_attn.window_size
    _, columns, channels = feature_map.shape
    window_rows = max(_CHUNK // (3 * channels * side * columns), 1)
    for strip in feature_map.split(window_rows * side):
        strip += _window_attention(block, strip)


def _window_attention(block: Any, strip: torch.Tensor) -> torch.Tensor:
    """Attention within the windows of a strip.

    Args:
        block: the spatial block.
        strip: (rows, columns, channels).

    Returns:
        The same shape, to be added to the strip.
    """
    import torch

    attention = block.window_attn
    side, heads = attention.window_size, attention.num_heads
    rows, columns, channels = strip.shape
    # The last windows are filled up with zeros, as in the model.
    padding = (0, 0, 0, -columns % side, 0, -rows % side)
    padded = torch.nn.functional.pad(block.norm1(strip), padding)
    down, across = padded.shape[0] // side, padded.shape[1] // side
    grid = padded.view(down, side, across, side, channels).transpose(1, 2)
    # (windows, positions of a window, channels)
    windows = grid.reshape(-1, side**2, channels)

    # Query, key and value are (windows, heads, positions, channels of a head).
    projected = attention.qkv(windows).view(-1, side**2, 3, heads, channels // heads)
    query, key, value = projected.permute(2, 0, 3, 1, 4).unbind()
    attended = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        scale=attention.scale,
    )
    attended = attention.proj(attended.transpose(1, 2).reshape(windows.shape))

    grid = attended.view(down, across, side, side, channels).transpose(1, 2)
    return grid.reshape(padded.shape)[:rows, :columns]


def _attend_to_channels(block: Any, feature_map: torch.Tensor) -> None:
    """Add attention among the channels of each group.

    The products of queries and keys are summed over all positions before any value is weighed, so
    the map is read twice. Queries, keys and values are (positions, groups, channels of a group).
    """
    attention = block.channel_attn
    channels = feature_map.shape[-1]
    groups, size = attention.groups, channels // attention.groups
    chunks = feature_map.flatten(0, 1).split(max(_CHUNK // (3 * channels), 1))
    products = feature_map.new_zeros(groups, size, size)
    values: list[torch.Tensor] = []
    for positions in chunks:
        projected = attention.qkv(block.norm1(positions)).view(-1, 3, groups, size)
        query, key, value = projected.unbind(1)
        products.baddbmm_(query.permute(1, 2, 0), key.transpose(0, 1))
        values.append(value.transpose(0, 1))

    count = feature_map.shape[0] * feature_map.shape[1]
    weights = (products * count**-0.5).softmax(-1).transpose(1, 2)
    for positions, value in zip(chunks, values, strict=True):
        attended = (value @ weights).transpose(0, 1).reshape(positions.shape)
        positions += attention.proj(attended)
