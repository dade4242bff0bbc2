"""Boxes for the noun phrases of a text by Grounding DINO.

In: image, texts with their parse. Out: triplets.

Paper section 4.3, "Text-phrase-region triplets". The model scores every box against every token of
the text. A triplet's `score` is its box's highest score over all tokens of the text, its
`phrase_score` the highest over the tokens of the phrase. The phrases are those of the parse. They
are tied to tokens by their characters, so that a triplet keeps the text's own spelling. A text that
is too long for the model is split into sentences, and a sentence that is too long into runs of
words: nothing is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pipeline.schema import Annotations, NounPhrase, Parse, Text, Triplet
from stages.base import Batch, Result, Sample, no_effect
from stages.checkpoints import CheckpointNeeds
from stages.filters.nms import nms
from stages.ranges import Share
from stages.specialists.batching import map_batches
from stages.specialists.images import grey_image, pad_image, to_pil
from stages.specialists.pretrained import (
    PretrainedConfig,
    check_pretrained,
    choose_device,
    load_pretrained,
    probe,
    wrong_architecture,
)

if TYPE_CHECKING:
    import torch

Span = tuple[int, int]
"""A half-open range of characters."""

WHOLE_TEXT, SENTENCES, WORDS = r".+", r".+?(?:[.!?]+\s+|$)", r"\S+\s*"


_NO_PHRASES = Parse(
    tokens=2,
    objects=[],
    attributes=[],
    actions=[],
    proper_nouns=[],
    object_complexity=0,
    action_complexity=0,
    object_complexity_mean=0.0,
    action_complexity_mean=0.0,
    noun_phrases=[],
)
NEEDS = CheckpointNeeds(
    "a Grounding DINO or MM-Grounding-DINO",
    lambda config: config.get("model_type") in ("grounding-dino", "mm-grounding-dino"),
    tokenizer=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundingDinoConfig(PretrainedConfig):
    """Settings of `grounding_dino`."""

    rows: int = 4
    """Number of pairs of an image and a text that go through the model at once."""

    min_box_score: Share = 0.15
    """Boxes with a lower score are not stored; the triplet filter is stricter."""

    min_phrase_score: Share = 0.15
    """Boxes whose score for the phrase is lower are not stored; the triplet filter is stricter."""

    nms_iou: Share = 0.7
    """A box is suppressed if it overlaps a better one of its phrase by more than this IoU."""

    max_boxes: int = 20
    """Most boxes of a phrase; the best are stored."""

    def without_effect(self) -> Iterator[str]:
        yield from PretrainedConfig.without_effect(self)
        # The score of a box is the highest over all tokens, so no score for a phrase exceeds it.
        if self.min_box_score <= self.min_phrase_score:
            reason = (
                f"a box scores at least as high as its phrase, which must reach "
                f"min_phrase_score={self.min_phrase_score}; give a higher min_box_score"
            )
            yield from no_effect(self, ("min_box_score",), reason)


def split(text: str, fits: Callable[[str], bool]) -> Iterator[Span]:
    """Spans that cover the text, each of which `fits` the model.

    The whole text if it fits; else runs of sentences; else, if one sentence is too long, runs of
    words.
    """
    parts: list[Span] = []
    for pattern in (WHOLE_TEXT, SENTENCES, WORDS):
        parts = [match.span() for match in re.finditer(pattern, text, re.DOTALL)]
        if all(fits(text[start:end]) for start, end in parts):
            break
    run_start, run_end = 0, 0
    for start, end in parts:
        if run_end > run_start and not fits(text[run_start:end]):
            yield run_start, run_end
            run_start = start
        run_end = end
    if run_end > run_start:
        yield run_start, run_end


def tokens_of(phrase: Span, offsets: Sequence[Span]) -> list[int]:
    """Indices of the tokens that share characters with the phrase.

    `offsets` are the spans of the tokens; those of special tokens are empty.
    """
    tokens = []
    for index, (start, end) in enumerate(offsets):
        if start < end and start < phrase[1] and end > phrase[0]:
            tokens.append(index)
    return tokens


def match(
    scores: np.ndarray, boxes: np.ndarray, tokens: Sequence[int], config: GroundingDinoConfig
) -> np.ndarray:
    """The (n,) int indices of a phrase's boxes, best first.

    `scores` is (boxes, tokens) float, 0 to 1; `boxes` is (boxes, 4), xyxy; `tokens` are the
    phrase's.
    """
    phrase_scores = scores[:, tokens].max(1)
    box_scores = scores.max(1)
    is_phrase = phrase_scores >= config.min_phrase_score
    is_box = box_scores >= config.min_box_score
    certain = np.flatnonzero(is_phrase & is_box)
    one_group = np.zeros(len(certain), int)
    is_kept = nms(
        boxes[certain],
        phrase_scores[certain],
        one_group,
        config.nms_iou,
    )
    kept = certain[is_kept]
    best_first = np.argsort(-phrase_scores[kept], kind="stable")
    matched = kept[best_first]
    return matched[: config.max_boxes]


def to_pixels(boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The model's (n, 4) boxes as xyxy in pixels, clipped to a (height, width, 3) uint8 RGB image.

    The model's boxes are (centre x, centre y, width, height), relative to the padded image.
    """
    centre = boxes[:, :2]
    half = boxes[:, 2:] / 2
    corners = np.concatenate([centre - half, centre + half], 1)
    padded_height, padded_width = pad_image(image).shape[:2]
    sides = [padded_width, padded_height, padded_width, padded_height]
    height, width = image.shape[:2]
    limits = [width, height, width, height]
    return np.clip(corners * sides, 0, limits)


@dataclass(frozen=True, slots=True)
class _Query:
    """One piece of a text, to be grounded in one image."""

    sample_index: int
    """Place of the sample in its batch."""

    image: np.ndarray
    """(height, width, 3) uint8 RGB."""

    inputs: dict[str, torch.Tensor]
    """What the processor makes of the image."""

    text: Text
    """The whole text."""

    span: Span
    """Where the piece stands in the text."""

    @property
    def piece(self) -> str:
        """The characters of the piece."""
        start, end = self.span
        return self.text.text[start:end]


class GroundingDino:
    """Grounds the fresh texts that have no triplets yet."""

    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("parsed_texts",)
    gives: ClassVar[tuple[str, ...]] = ("triplets",)

    def __init__(self, config: GroundingDinoConfig) -> None:
        from transformers import (
            AutoImageProcessor,
            AutoModelForZeroShotObjectDetection,
            AutoTokenizer,
        )

        self.check(config)
        self.config = config
        self.device = choose_device(config)
        self.model = load_pretrained(AutoModelForZeroShotObjectDetection, config)
        if not hasattr(self.model.config, "max_text_len"):
            raise wrong_architecture(config, self.model, "a Grounding DINO or MM-Grounding-DINO")
        self.image_processor = load_pretrained(AutoImageProcessor, config)
        self.tokenizer = load_pretrained(AutoTokenizer, config)
        self.max_tokens = self.model.config.max_text_len
        probe(config, self._try)

    @staticmethod
    def check(config: GroundingDinoConfig) -> None:
        """See `stages.base.Stage`."""
        check_pretrained(config, NEEDS)

    def _try(self) -> None:
        """Ground a text in a grey image."""
        image = grey_image()
        inputs = self.image_processor(images=to_pil(image), return_tensors="pt")
        text = Text(granularity="brief", text="a dog", parse=_NO_PHRASES)
        self._ground_batch([_Query(0, image, inputs, text, (0, len(text.text)))])

    def __call__(self, batch: Batch) -> list[Result]:
        queries: list[_Query] = []
        for index, sample in enumerate(batch):
            queries += self._queries(index, sample)
        found = map_batches(queries, self._ground_batch, self.config.rows, self._shape)
        triplets: list[list[Triplet]] = [[] for _ in batch]
        for query, query_triplets in zip(queries, found, strict=True):
            triplets[query.sample_index] += query_triplets
        return [Annotations(triplets=sample_triplets) for sample_triplets in triplets]

    def _queries(self, index: int, sample: Sample) -> list[_Query]:
        """The pieces of the fresh texts that have no triplets yet."""
        kept = sample.annotations.kept()
        grounded = {triplet.text_id for triplet in kept.triplets}
        texts = []
        for text in kept.texts:
            if sample.fresh(text) and text.id not in grounded and text.parse is not None:
                texts.append(text)
        if not texts:
            return []
        image = sample.pixels
        inputs = self.image_processor(images=to_pil(image), return_tensors="pt")
        queries = []
        for text in texts:
            for span in split(text.text, self._fits):
                queries.append(_Query(index, image, inputs, text, span))
        return queries

    def _fits(self, piece: str) -> bool:
        """Whether a piece is short enough for the model."""
        return self._token_count(piece) <= self.max_tokens

    def _token_count(self, piece: str) -> int:
        """Number of tokens of a piece, special tokens included."""
        return len(self.tokenizer(_with_full_stop(piece))["input_ids"])

    def _shape(self, query: _Query) -> tuple[tuple[int, ...], int]:
        """The shape of the image's input, and the number of tokens of the piece."""
        image_shape = tuple(query.inputs["pixel_values"].shape)
        return image_shape, self._token_count(query.piece)

    def _ground_batch(self, queries: Sequence[_Query]) -> list[list[Triplet]]:
        """The triplets of queries whose images and pieces have one shape."""
        import torch

        tokens = self.tokenizer(
            [_with_full_stop(query.piece) for query in queries],
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        offsets = tokens.pop("offset_mapping").tolist()
        pixels = {}
        for name in ("pixel_values", "pixel_mask"):
            tensors = [query.inputs[name] for query in queries]
            pixels[name] = torch.cat(tensors).to(self.device)
        pixels["pixel_values"] = pixels["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            outputs = self.model(**pixels, **tokens.to(self.device))
        scores = outputs.logits.float().sigmoid().cpu().numpy()
        boxes = outputs.pred_boxes.float().cpu().numpy()
        triplets = []
        for index, query in enumerate(queries):
            query_triplets = self._triplets(
                query,
                scores=scores[index],
                boxes=to_pixels(boxes[index], query.image),
                offsets=offsets[index],
            )
            triplets.append(query_triplets)
        return triplets

    def _triplets(
        self, query: _Query, scores: np.ndarray, boxes: np.ndarray, offsets: Sequence[Span]
    ) -> list[Triplet]:
        """The triplets of every noun phrase in the piece, each phrase's best first."""
        assert query.text.parse is not None
        box_scores = scores.max(1)
        piece_start = query.span[0]
        triplets = []
        for phrase in query.text.parse.noun_phrases:
            span = (phrase.start - piece_start, phrase.end - piece_start)
            tokens = tokens_of(span, offsets)
            # The phrase stands in another piece of the text.
            if not tokens:
                continue
            for index in match(scores, boxes, tokens, self.config):
                triplet = replace(
                    _triplet(query.text, phrase, boxes[index]),
                    score=float(box_scores[index]),
                    phrase_score=float(scores[index, tokens].max()),
                )
                triplets.append(triplet)
        return triplets


def _triplet(text: Text, phrase: NounPhrase, box: np.ndarray) -> Triplet:
    """A triplet without scores; `box` is (4,), xyxy in pixels."""
    x1, y1, x2, y2 = box.astype(float).tolist()
    return Triplet(
        text_id=text.id,
        phrase=phrase.text,
        start=phrase.start,
        end=phrase.end,
        box=(x1, y1, x2, y2),
        parents=[text.id],
    )


def _with_full_stop(piece: str) -> str:
    """The piece with a full stop at its end.

    The model's attention stays within parts that end in a full stop. Without one, the last part
    would fall apart into single words.
    """
    if piece.rstrip().endswith((".", "?")):
        return piece
    return f"{piece.rstrip()}."
