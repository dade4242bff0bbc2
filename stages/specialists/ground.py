"""Boxes for the noun phrases of a text by Grounding DINO. In: image, texts with their parse. Out: triplets.

Paper section 4.3, "Text-phrase-region triplets". The model scores every box against every token of the text.
A triplet's `score` is its box's highest score over the tokens of the text, `phrase_score` the highest over
the tokens of the phrase; phrases are the parse's, found by characters, so that they keep the text's own case
and spaces. A text that is too long for the model is asked sentence by sentence, and a sentence that is too
long word by word: nothing is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pipeline.schema import Annotations, Box, NounPhrase, Text, Triplet
from stages.base import Batch, Result, Sample
from stages.filters.nms import nms
from stages.specialists.pretrained import PretrainedConfig, device, load, mapped, padded, picture

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundingDinoConfig(PretrainedConfig):
    rows: int = 4  # (image, text) pairs that go through the model at once
    min_box_score: float = 0.15  # raw signal: the triplet filter decides
    min_phrase_score: float = 0.15
    nms_iou: float = 0.7  # among the boxes of one phrase
    max_boxes: int = 20  # of a phrase


def split(text: str, fits: Callable[[str], bool]) -> Iterator[Span]:
    """Spans that cover the text and fit the model each: whole text, else runs of sentences, else of words."""
    for pattern in (r".+", r".+?(?:[.!?]+\s+|$)", r"\S+\s*"):
        parts = [m.span() for m in re.finditer(pattern, text, re.DOTALL)]
        if all(fits(text[a:b]) for a, b in parts):
            break
    start, end = 0, 0
    for a, b in parts:
        if end > start and not fits(text[start:b]):
            yield start, end
            start = a
        end = b
    if end > start:
        yield start, end


def tokens_of(phrase: Span, offsets: Sequence[Span]) -> list[int]:
    """Indices of the tokens that share characters with the phrase."""
    return [i for i, (a, b) in enumerate(offsets) if a < b and a < phrase[1] and b > phrase[0]]


def match(
    scores: np.ndarray, boxes: np.ndarray, tokens: Sequence[int], config: GroundingDinoConfig
) -> np.ndarray:
    """Indices of a phrase's boxes, best first; `scores` is (boxes, tokens)."""
    phrase = scores[:, tokens].max(1)
    sure = np.flatnonzero(
        (phrase >= config.min_phrase_score) & (scores.max(1) >= config.min_box_score)
    )
    sure = sure[nms(boxes[sure], phrase[sure], np.zeros(len(sure), int), config.nms_iou)]
    return sure[np.argsort(-phrase[sure], kind="stable")][: config.max_boxes]


@dataclass(frozen=True, slots=True)
class _Row:
    """One piece of one text of one sample; `offset` is where the piece begins in the text."""

    sample: int
    text: Text
    offset: int
    piece: str


class GroundingDino:
    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True

    def __init__(self, config: GroundingDinoConfig) -> None:
        from transformers import (
            AutoImageProcessor,
            AutoModelForZeroShotObjectDetection,
            AutoTokenizer,
        )

        self.config, self.device = config, device(config)
        self.model = load(AutoModelForZeroShotObjectDetection, config)
        self.images, self.words = load(AutoImageProcessor, config), load(AutoTokenizer, config)
        self.limit = self.model.config.max_text_len

    def __call__(self, batch: Batch) -> list[Result]:
        rows = [row for i, sample in enumerate(batch) for row in self.rows(i, sample)]
        inputs = {
            i: self.images(images=picture(batch[i].pixels), return_tensors="pt")
            for i in {r.sample for r in rows}
        }
        shapes = {i: tuple(x["pixel_values"].shape) for i, x in inputs.items()}
        found = mapped(
            rows,
            lambda piece: self.ground(piece, [inputs[r.sample] for r in piece], batch),
            self.config.rows,
            lambda row: (shapes[row.sample], self.count(row.piece)),
        )
        triplets: list[list[Triplet]] = [[] for _ in batch]
        for row, each in zip(rows, found, strict=True):
            triplets[row.sample] += each
        return [Annotations(triplets=each) for each in triplets]

    def rows(self, index: int, sample: Sample) -> Iterator[_Row]:
        """The pieces of the fresh texts that have no triplets yet."""
        kept = sample.annotations.kept()
        grounded = {t.text_id for t in kept.triplets}
        for text in kept.texts:
            if sample.fresh(text) and text.id not in grounded and text.parse is not None:
                for start, end in split(text.text, lambda part: self.count(part) <= self.limit):
                    yield _Row(index, text, start, text.text[start:end])

    def count(self, part: str) -> int:
        return len(self.words(_ended(part))["input_ids"])

    def ground(
        self, rows: Sequence[_Row], inputs: Sequence[Any], batch: Batch
    ) -> list[list[Triplet]]:
        import torch

        words = self.words(
            [_ended(r.piece) for r in rows], return_offsets_mapping=True, return_tensors="pt"
        )
        offsets = words.pop("offset_mapping").tolist()
        pixels = {
            k: torch.cat([x[k] for x in inputs]).to(self.device)
            for k in ("pixel_values", "pixel_mask")
        }
        pixels["pixel_values"] = pixels["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            outputs = self.model(**pixels, **words.to(self.device))
        scores = outputs.logits.float().sigmoid().cpu().numpy()
        boxes = outputs.pred_boxes.float().cpu().numpy()
        return [
            list(
                self.triplets(
                    row, scores[i], to_pixels(boxes[i], batch[row.sample].pixels), offsets[i]
                )
            )
            for i, row in enumerate(rows)
        ]

    def triplets(
        self, row: _Row, scores: np.ndarray, boxes: np.ndarray, offsets: list
    ) -> Iterator[Triplet]:
        assert row.text.parse is not None
        best = scores.max(1)
        for phrase in row.text.parse.noun_phrases:
            tokens = tokens_of((phrase.start - row.offset, phrase.end - row.offset), offsets)
            if not tokens:
                continue
            for i in match(scores, boxes, tokens, self.config):
                x1, y1, x2, y2 = boxes[i].astype(float).tolist()
                yield _triplet(
                    row.text,
                    phrase,
                    (x1, y1, x2, y2),
                    float(best[i]),
                    float(scores[i, tokens].max()),
                )


def to_pixels(boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Boxes (centre, size) relative to what the model saw as xyxy in pixels, inside the image."""
    half = boxes[:, 2:] / 2
    corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
    seen, size = padded(image).shape[1::-1], image.shape[1::-1]
    return np.clip(corners * [*seen, *seen], 0, [*size, *size])


def _triplet(
    text: Text, phrase: NounPhrase, box: Box, score: float, phrase_score: float
) -> Triplet:
    return Triplet(
        text_id=text.id,
        phrase=phrase.text,
        start=phrase.start,
        end=phrase.end,
        box=box,
        score=score,
        phrase_score=phrase_score,
        parents=[text.id],
    )


def _ended(part: str) -> str:
    """The model attends within parts that end in a full stop; one without would fall into single words."""
    return part if part.rstrip().endswith((".", "?")) else f"{part.rstrip()}."
