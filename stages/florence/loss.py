"""The loss of target tokens, for labels whose boxes are known only roughly.

A box edge that is off by 4% of the image is a miss of forty bins to plain cross-entropy: with jittered boxes most of
the gradient is that noise, and what things are called drowns in it. `location_spread` makes the target of a location
a normal over the bins around it, `location_weight` is what a location counts beside a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.florence.codec import BINS

if TYPE_CHECKING:
    import torch


def token_loss(
    logits: torch.Tensor, labels: torch.Tensor, first_location: int, spread: float, weight: float
) -> torch.Tensor:
    """The summed loss; `spread` is the deviation of a location's target in bins (0: exactly the bin)."""
    import torch

    log_probs = logits.log_softmax(-1)
    losses = -log_probs.gather(1, labels[:, None])[:, 0]
    place = labels - first_location
    located = (place >= 0) & (place < BINS)
    if spread > 0:
        bins = torch.arange(BINS, device=logits.device)
        target = (-0.5 * ((bins - place[located, None]) / spread) ** 2).softmax(-1)
        near = log_probs[located, first_location : first_location + BINS]
        losses = losses.masked_scatter(located, -(target * near).sum(-1))
    return losses.where(~located, losses * weight).sum()
