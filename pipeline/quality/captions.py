"""Captions against reference captions: BLEU, ROUGE-L and CIDEr by pycocoevalcap.

Its tokenizer and METEOR need Java, so texts are split here as the Penn Treebank does: lower case, clitics
apart, punctuation removed. With `tokenized`, texts that are already split by spaces are taken as they are.
"""

from __future__ import annotations

import re
from typing import Any

from pipeline.quality.coco import Entry, check, grouped

_WORD = re.compile(r"\w+(?:[-./,:]\w+)*")
_CLITIC = re.compile(r"(\w)(n't|'(?:s|m|d|re|ve|ll))\b")


def score(
    ground_truth: Entry, predictions: list[Entry], *, tokenized: bool = False
) -> dict[str, Any]:
    """Scores over the images that have a prediction; `missing` counts those that have references but none."""
    check(ground_truth, predictions, ("image_id", "caption"), ("image_id", "caption"))
    split = str if tokenized else tokenize
    references = grouped(ground_truth["annotations"], lambda e: (e["image_id"],))
    found = grouped(predictions, lambda e: (e["image_id"],))
    double = next((key[0] for key, entries in found.items() if len(entries) > 1), None)
    if double is not None:
        raise ValueError(f"predictions: image_id {double!r} has several captions; give one")
    alone = next((key[0] for key in found if key not in references), None)
    if alone is not None:
        raise ValueError(
            f"predictions: image_id {alone!r} has no reference caption in the ground truth"
        )
    if not found:
        raise ValueError("predictions: no caption to score")
    expected = {key: [split(e["caption"]) for e in references[key]] for key in found}
    given = {key: [split(entries[0]["caption"])] for key, entries in found.items()}
    return {
        **_scores(expected, given),
        "images": len(found),
        "missing": len(references) - len(found),
    }


def tokenize(text: str) -> str:
    """The words of a text separated by spaces."""
    text = _CLITIC.sub(r"\1 \2", text.lower().replace("\u2019", "'"))
    return " ".join(
        word
        for piece in text.split()
        for word in ([piece] if _is_clitic(piece) else _WORD.findall(piece))
    )


def _is_clitic(piece: str) -> bool:
    return re.fullmatch(r"n't|'(?:s|m|d|re|ve|ll)", piece) is not None


def _scores(expected: dict[Any, list[str]], given: dict[Any, list[str]]) -> dict[str, float]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    bleu, _ = Bleu(4).compute_score(expected, given, verbose=0)
    rouge, _ = Rouge().compute_score(expected, given)
    cider, _ = Cider().compute_score(expected, given)
    numbers = {f"BLEU_{n}": value for n, value in enumerate(bleu, 1)}
    return {
        name: float(value) for name, value in {**numbers, "ROUGE_L": rouge, "CIDEr": cider}.items()
    }
