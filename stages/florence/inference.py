"""Many questions about many images: one vision pass for each image, all rows decoded together.

In: images and questions. Out: the tokens of each answer, with their log-probability under the
model's own distribution (before any grammar). That is the confidence of new labels. With the same
shared encoding, teacher forcing gives the log-probabilities of given targets: how much the model
supports old labels. Without a grammar, greedy output equals that of `generate` of `transformers`
(num_beams=1) token for token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.florence import forward
from stages.florence.beams import beam_search
from stages.florence.forward import Encoded
from stages.florence.generation import GeneratedTokens, Question
from stages.florence.greedy import greedy_search
from stages.florence.model import Florence
from stages.florence.token_scores import TokenScorer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """A question with the answer whose probability is asked for."""

    image: int
    """Number of the image among those that were encoded together."""

    prompt: str
    """What the model is asked."""

    target: str
    """The answer to score."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some rows that go through the model together."""

    rows: list[int]
    """Their numbers in the caller's order."""

    encoded: Encoded
    """The encoder's output for them."""


class FlorenceInference:
    """A loaded model that answers questions and scores given answers."""

    def __init__(
        self,
        florence: Florence,
        resolution: int,
        *,
        rows: int = 128,
        beams: int = 1,
        max_prompt_tokens: int = 256,
        centre: int = 0,
    ) -> None:
        """Prepare a model.

        Args:
            florence: the model.
            resolution: side of the square image that the model sees, in pixels.
            rows: questions that are decoded at the same time.
            beams: beams of each question; 1 searches greedily.
            max_prompt_tokens: longest prompt; what is longer is cut.
            centre: bins over which locations of greedy answers are centred
                (`TokenScorer.centred_choice`); 0 is off.
        """
        self.florence = florence
        self.resolution = resolution
        self.rows = rows
        self.beams = beams
        self.max_prompt_tokens = max_prompt_tokens
        self.centre = centre
        self.scorer = TokenScorer(florence)

    def encode_images(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Run the vision tower once for each image.

        Args:
            images: each (height, width, 3), uint8, RGB.

        Returns:
            Image tokens (images, tokens, width), in the model's dtype.
        """
        import torch

        with torch.inference_mode():
            return forward.encode_images(self.florence, images, self.resolution)

    def answer(
        self,
        features: torch.Tensor,
        questions: Sequence[Question],
    ) -> list[GeneratedTokens]:
        """Answer questions about images; returns the answers in the order of the questions.

        `features` are (images, tokens, width), from `encode_images`.
        """
        import torch

        answers = [GeneratedTokens() for _ in questions]
        images = [question.image for question in questions]
        prompts = self._tokenise([question.prompt for question in questions])
        lengths = [(0, len(prompt)) for prompt in prompts]
        with torch.inference_mode():
            for batch in self._batches(features, images, prompts, lengths):
                asked = [questions[i] for i in batch.rows]
                for i, tokens in zip(batch.rows, self._search(batch.encoded, asked), strict=True):
                    answers[i] = tokens
        return answers

    def score_answers(
        self,
        features: torch.Tensor,
        given: Sequence[GivenAnswer],
        max_tokens: int = 256,
    ) -> list[GeneratedTokens]:
        """Score given answers by teacher forcing; returns their tokens in the order of the answers.

        `features` are (images, tokens, width), from `encode_images`. Answers are cut to
        `max_tokens` tokens.
        """
        import torch

        scored = [GeneratedTokens() for _ in given]
        images = [answer.image for answer in given]
        targets = forward.tokenise(self.florence, [answer.target for answer in given], max_tokens)
        prompts = self._tokenise([answer.prompt for answer in given])
        lengths = [
            (len(target), len(prompt)) for target, prompt in zip(targets, prompts, strict=True)
        ]
        with torch.inference_mode():
            for batch in self._batches(features, images, prompts, lengths):
                logits, labels = forward.teacher_forced_logits(
                    self.florence, batch.encoded, [targets[i] for i in batch.rows]
                )
                tokens = iter(self.scorer.score(logits, labels))
                for i in batch.rows:
                    # The first token of a target, `<s>`, has no score.
                    for _ in range(len(targets[i]) - 1):
                        scored[i].append(next(tokens))
        return scored

    def _tokenise(self, prompts: Sequence[str]) -> list[list[int]]:
        return forward.tokenise(self.florence, prompts, self.max_prompt_tokens)

    def _batches(
        self,
        features: torch.Tensor,
        images: Sequence[int],
        prompts: Sequence[Sequence[int]],
        lengths: Sequence[tuple[int, int]],
    ) -> Iterator[_Batch]:
        """Encode rows in batches of like length, so that little is padded.

        `lengths` are the tokens of target and prompt of each row.
        """
        order = sorted(range(len(prompts)), key=lambda row: lengths[row])
        for start in range(0, len(order), self.rows):
            rows = order[start : start + self.rows]
            encoded = forward.encode_prompts(
                self.florence, features, [images[i] for i in rows], [prompts[i] for i in rows]
            )
            yield _Batch(rows, encoded)

    def _search(self, encoded: Encoded, questions: Sequence[Question]) -> list[GeneratedTokens]:
        if self.beams == 1:
            return greedy_search(self.florence, self.scorer, encoded, questions, self.centre)
        return beam_search(self.florence, self.scorer, encoded, questions, self.beams)
