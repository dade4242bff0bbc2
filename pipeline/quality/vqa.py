"""Answers to questions: VQA accuracy, where an answer that three of ten people gave is right.

An answer's credit is the mean, over each person left out, of min(1, matches among the others / 3); with a
single true answer it is plain equality. Answers are compared after `normalise_answer`, much as the VQA
challenge does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipeline.quality.coco import Entry, check

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(i) for i, word in enumerate(_NUMBERS)}}
_ARTICLES = {"a", "an", "the"}


def score(ground_truth: Entry, predictions: list[Entry]) -> dict[str, Any]:
    """`accuracy`, the mean credit over all questions; a question without an answer has none."""
    check(ground_truth, predictions, ("question_id", "answers"), ("question_id", "answer"))
    given = {entry["question_id"]: entry["answer"] for entry in predictions}
    questions = ground_truth["annotations"]
    unknown = set(given) - {entry["question_id"] for entry in questions}
    if unknown:
        raise ValueError(
            f"predictions: question_id {min(unknown, key=str)!r} is not in the ground truth"
        )
    if not questions:
        raise ValueError("ground truth: no question")
    credits = [
        credit(given[q["question_id"]], _people(q)) for q in questions if q["question_id"] in given
    ]
    return {"accuracy": sum(credits) / len(questions), "questions": len(questions)}


def credit(answer: str, people: Sequence[str]) -> float:
    mine = normalise_answer(answer)
    matches = [normalise_answer(other) == mine for other in people]
    if len(people) == 1:
        return float(matches[0])
    others = (sum(matches) - match for match in matches)
    return sum(min(1.0, count / 3) for count in others) / len(people)


def normalise_answer(answer: str) -> str:
    """Lower case, without articles, apostrophes and other punctuation, numbers to ten as digits."""
    text = re.sub(r"(?<=\d),(?=\d)|['\u2019]", "", answer.lower())
    text = re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w\s.]|_", " ", text)
    return " ".join(_DIGITS.get(word, word) for word in text.split() if word not in _ARTICLES)


def _people(question: Entry) -> list[str]:
    return [
        answer["answer"] if isinstance(answer, dict) else answer for answer in question["answers"]
    ]
