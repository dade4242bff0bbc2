"""The loss of target tokens, for labels whose boxes are known only roughly.

To plain cross-entropy, a box edge that is off by 4% of the image misses by forty bins. If boxes are
jittered, most of the gradient is that noise, and the names of things are hardly learned. So the
target of a location can be a normal distribution over the bins around it, and locations can weigh
less than words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.florence.codec import BINS

if TYPE_CHECKING:
    import torch


def token_losses(
    logits: torch.Tensor,
    labels: torch.Tensor,
    first_location: int,
    spread: float,
    weight: float,
) -> torch.Tensor:
    """Return the cross-entropy of each token, in nats: (tokens,).

    Args:
        logits: (tokens, vocabulary), float.
        labels: (tokens,), int64; the target ids.
        first_location: id of `<loc_0>`.
        spread: standard deviation of a location's target distribution, in bins; 0 puts all of its
            mass on the target bin.
        weight: factor of the loss of location tokens.
    """
    import torch

    log_probs = logits.log_softmax(-1)
    losses = -log_probs.gather(1, labels[:, None])[:, 0]
    label_bins = labels - first_location
    is_location = (label_bins >= 0) & (label_bins < BINS)
    if spread > 0:
        bins = torch.arange(BINS, device=logits.device)
        offsets = (bins - label_bins[is_location, None]) / spread
        target = (-0.5 * offsets**2).softmax(-1)
        location_log_probs = log_probs[is_location, first_location : first_location + BINS]
        losses = losses.masked_scatter(is_location, -(target * location_log_probs).sum(-1))
    return losses.where(~is_location, losses * weight)
