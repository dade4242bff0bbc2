"""Training steps: many targets of an image from one vision pass.

Targets are drawn from a generator seeded by (seed, step, sample's key), dropout from one seeded by
(seed, step, rank), and the learning rate is a function of the step. So a step depends on the steps
before it only through the weights and AdamW's moments.

Each rank, and each micro-batch, adds up the loss of its own tokens. The sum of the gradients is
divided by the weight of all tokens (their number, unless human labels weigh more), so neither
changes the result beyond rounding. Florence-2 paper, section 6.1: AdamW, cosine decay, linear
warm-up, growing resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stages.base import Sample, thread_count
from stages.florence import forward
from stages.florence.config import TrainConfig
from stages.florence.distributed import SINGLE_PROCESS, Distributed
from stages.florence.examples import augment_samples, draw_examples, label_weight
from stages.florence.limits import check_training, limits_in
from stages.florence.loss import token_losses
from stages.florence.model import Florence, move_to_device
from stages.florence.state import Metrics, TrainingState
from stages.florence.tasks import Example
from stages.florence.tokenizer import token_id

if TYPE_CHECKING:
    import torch

# Rows that go through the language model at once. Fewer rows are padded less but need more calls.
_ROWS = 16


@dataclass(frozen=True, slots=True)
class BatchLoss:
    """The loss of some samples."""

    total: torch.Tensor
    """Weighted sum over their tokens, in nats; a scalar with its graph."""

    weight: float
    """Sum of the tokens' weights."""

    tokens: int
    """Number of tokens; the forced start token does not count."""


class Trainer:
    """A model in training; `learn` does one step.

    Attributes:
        state: everything that changes from step to step.
    """

    def __init__(
        self,
        config: TrainConfig,
        florence: Florence,
        distributed: Distributed = SINGLE_PROCESS,
    ) -> None:
        """Prepare the model and its optimiser.

        Raises:
            ValueError: the batch has fewer images than there are processes, or the model does not
                take a resolution or a length.
        """
        import torch

        torch.set_num_threads(thread_count())
        # Then the sums of several threads are added in a fixed order.
        torch.use_deterministic_algorithms(True, warn_only=True)
        if config.batch_size < distributed.world_size:
            raise ValueError(
                f"batch_size={config.batch_size}: {distributed.world_size} workers need at least "
                "one image each"
            )
        limits = limits_in("the model", florence.model.config.to_dict())
        check_training(limits, config.stages, config)
        self.config = config
        self.florence = florence
        self.distributed = distributed
        _prepare_model(florence, config)
        parameters = {
            name: parameter
            for name, parameter in florence.model.named_parameters()
            if parameter.requires_grad
        }
        # A weight that no rank has used needs a gradient, too, so that all ranks agree.
        for parameter in parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        average = {}
        if config.average:
            average = {name: p.detach().clone() for name, p in parameters.items()}
        optimiser = _optimiser(config, list(parameters.values()))
        self.state = TrainingState(florence, parameters, optimiser, average)

    def learn(self, samples: Sequence[Sample]) -> Metrics:
        """Do one step.

        Args:
            samples: this rank's share of the batch.

        Returns:
            Metrics over all ranks: `step` (from 1), `loss` (nats a token, the mean by weight),
            `gradient_norm` before
            clipping, `rate` (the learning rate) and `tokens` (number of target tokens).
        """
        import torch

        config, state = self.config, self.state
        samples = augment_samples(samples, config, state.step)
        rank = self.distributed.rank
        torch.manual_seed(config.seed * 1_000_003 + state.step * 1_009 + rank)
        for group in state.optimiser.param_groups:
            group["lr"] = config.rate(state.step)
        state.optimiser.zero_grad(set_to_none=False)
        sums = self._accumulate(samples)
        parameters = list(state.parameters.values())
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.distributed.sum_over_ranks([sums])
        self.distributed.sum_over_ranks(gradients)
        loss, weight, tokens = sums.tolist()
        # A batch without any target has no weight.
        divisor = weight or 1.0
        torch._foreach_div_(gradients, divisor)
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        state.optimiser.step()
        self._update_average()
        state.step += 1
        return {
            "step": state.step,
            "loss": round(loss / divisor, 6),
            "gradient_norm": round(float(norm), 4),
            "rate": config.rate(state.step - 1),
            "tokens": int(tokens),
        }

    def _accumulate(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Add up the gradients of all micro-batches.

        Returns the sums of the loss, of the weights and of the tokens: (3,), float64.
        """
        import torch

        device = self.florence.device
        use_bfloat16 = self.config.dtype == "bfloat16"
        sums = torch.zeros(3, dtype=torch.float64, device=device)
        size = self.config.micro_batch or len(samples)
        for first in range(0, len(samples), size):
            with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16):
                loss = self.loss(samples[first : first + size])
            loss.total.backward()
            counts = torch.tensor([loss.weight, loss.tokens], dtype=torch.float64, device=device)
            sums += torch.cat([loss.total.detach().double()[None], counts])
        return sums

    def _update_average(self) -> None:
        import torch

        state = self.state
        if state.average:
            current = [parameter.detach() for parameter in state.parameters.values()]
            torch._foreach_lerp_(list(state.average.values()), current, 1 - self.config.average)

    def use_average(self) -> None:
        """Make the running average, if there is one, the weights of the model."""
        import torch

        with torch.no_grad():
            for name, value in self.state.average.items():
                self.state.parameters[name].copy_(value)

    def loss(self, samples: Sequence[Sample]) -> BatchLoss:
        """Return the loss of all examples of some samples, from one vision pass."""
        config, florence = self.config, self.florence
        images: list[int] = []
        examples: list[Example] = []
        weights: list[float] = []
        for i, sample in enumerate(samples):
            for example in draw_examples(sample, config, self.state.step):
                images.append(i)
                examples.append(example)
                weights.append(label_weight(example, sample.annotations, config.human_weight))
        resolution = config.resolution(self.state.step)
        features = forward.encode_images(florence, [s.pixels for s in samples], resolution)
        if not examples:
            # The features take part, so that every rank has the same graph.
            return BatchLoss(features.sum() * 0.0, 0.0, 0)
        prompts = forward.tokenise(
            florence, [example.prompt for example in examples], config.max_prompt_tokens
        )
        targets = forward.tokenise_targets(florence, examples, config.max_target_tokens)
        total = features.new_zeros(())
        weight = 0.0
        tokens = 0
        # Rows of like length go together, so that little is padded.
        order = sorted(range(len(examples)), key=lambda row: len(targets[row]))
        for part in np.array_split(np.array(order), max(len(order) // _ROWS, 1)):
            rows = part.tolist()
            encoded = forward.encode_prompts(
                florence, features, [images[r] for r in rows], [prompts[r] for r in rows]
            )
            logits, labels = forward.teacher_forced_logits(
                florence, encoded, [targets[r] for r in rows]
            )
            # The start token of a row has no loss.
            lengths = [len(targets[r]) - 1 for r in rows]
            token_weights = np.repeat([weights[r] for r in rows], lengths)
            total = total + self._loss_sum(logits, labels, token_weights)
            weight += float(token_weights.sum())
            tokens += len(labels)
        return BatchLoss(total, weight, tokens)

    def _loss_sum(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: np.ndarray
    ) -> torch.Tensor:
        """The weighted sum of the loss of some tokens, as a scalar.

        Args:
            logits: (tokens, vocabulary), float.
            labels: (tokens,), int64; the target ids.
            weights: (tokens,), float64.
        """
        import torch

        config = self.config
        is_even = bool((weights == 1).all())
        if config.location_spread or config.location_weight != 1:
            first = token_id(self.florence.tokenizer, "<loc_0>")
            spread, weight = config.location_spread, config.location_weight
            losses = token_losses(logits, labels, first, spread, weight)
        else:
            losses = torch.nn.functional.cross_entropy(
                logits,
                labels,
                # Even weights need no factors, and the library's sum rounds in another way.
                reduction="sum" if is_even else "none",
                label_smoothing=config.label_smoothing,
            )
        if is_even:
            return losses.sum()
        factors = torch.as_tensor(weights, dtype=losses.dtype, device=losses.device)
        return (losses * factors).sum()


def _prepare_model(florence: Florence, config: TrainConfig) -> None:
    """Put the model into training mode, as the settings want it."""
    move_to_device(florence, config.device)
    florence.model.train()
    if config.freeze_vision:
        florence.model.model.vision_tower.requires_grad_(False)
    if config.recompute:
        recompute_activations(florence)


def _optimiser(config: TrainConfig, parameters: Sequence[torch.nn.Parameter]) -> torch.optim.AdamW:
    """AdamW whose weight decay leaves vectors (biases, norms) out."""
    import torch

    groups: list[dict[str, object]] = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


def recompute_activations(florence: Florence) -> None:
    """Make every layer compute its activations again in the backward pass."""
    from torch.utils.checkpoint import checkpoint

    model = florence.model.model
    language = model.language_model
    layers: list[torch.nn.Module] = []
    for stage in model.vision_tower.blocks:
        layers += stage.children()
    layers += language.encoder.layers
    layers += language.decoder.layers
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
