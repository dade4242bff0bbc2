"""Captions against reference captions: BLEU, ROUGE-L and CIDEr by pycocoevalcap.

The tokenizer and METEOR of pycocoevalcap need Java, so texts are split here as the Penn Treebank
does: lower case, clitics apart, punctuation removed. With `tokenized`, texts are expected to be
split by spaces already.
"""

from __future__ import annotations

import re

from pipeline.quality.coco import Entry, GroundTruth, Key, by_image, check, grouped

_WORD = re.compile(r"\w+(?:[-./,:]\w+)*")
_CLITIC = r"n't|'(?:s|m|d|re|ve|ll)"
_WORD_WITH_CLITIC = re.compile(rf"(\w)({_CLITIC})\b")
_FIELDS = ("image_id", "caption")


def score(
    ground_truth: GroundTruth, predictions: list[Entry], *, tokenized: bool = False
) -> dict[str, float]:
    """BLEU, ROUGE-L and CIDEr over the images that have a prediction.

    Args:
        ground_truth: annotations with `image_id` and `caption`, several for an image.
        predictions: entries with `image_id` and `caption`, one for an image.
        tokenized: the captions are split by spaces already.

    Returns:
        The scores; `images`, how many were scored; and `missing`, the images that have references
        but no prediction.

    Raises:
        ValueError: an entry cannot be scored; the message names it.
    """
    check(ground_truth, predictions, _FIELDS, _FIELDS)
    references = grouped(ground_truth["annotations"], by_image)
    captions = grouped(predictions, by_image)
    if not captions:
        raise ValueError("predictions: no caption to score")
    for (image,), entries in captions.items():
        if len(entries) > 1:
            raise ValueError(f"predictions: image_id {image!r} has several captions; give one")
        if (image,) not in references:
            raise ValueError(
                f"predictions: image_id {image!r} has no reference caption in the ground truth"
            )
    split = str if tokenized else tokenize
    expected, predicted = {}, {}
    for key, entries in captions.items():
        expected[key] = [split(entry["caption"]) for entry in references[key]]
        predicted[key] = [split(entries[0]["caption"])]
    return {
        **_scores(expected, predicted),
        "images": len(captions),
        "missing": len(references) - len(captions),
    }


def tokenize(text: str) -> str:
    """The words of a text, separated by spaces."""
    text = text.lower().replace("\u2019", "'")
    words = []
    for piece in _WORD_WITH_CLITIC.sub(r"\1 \2", text).split():
        if re.fullmatch(_CLITIC, piece):
            words.append(piece)
        else:
            words += _WORD.findall(piece)
    return " ".join(words)


def _scores(expected: dict[Key, list[str]], predicted: dict[Key, list[str]]) -> dict[str, float]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    bleu, _ = Bleu(4).compute_score(expected, predicted, verbose=0)
    rouge, _ = Rouge().compute_score(expected, predicted)
    cider, _ = Cider().compute_score(expected, predicted)
    scores = {}
    for n, value in enumerate(bleu, 1):
        scores[f"BLEU_{n}"] = float(value)
    scores["ROUGE_L"] = float(rouge)
    scores["CIDEr"] = float(cider)
    return scores
