"""Answers to questions: VQA accuracy, where an answer that three of ten people gave is right.

The credit of an answer is the mean, over each person left out, of min(1, matches among the others /
3); with a single true answer it is plain equality. Answers are compared after `normalise_answer`,
much as the VQA challenge does (Antol et al., "VQA: Visual Question Answering").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.quality.coco import Entry, GroundTruth, check

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_TRUTH_FIELDS = ("question_id", "answers")
_FIELDS = ("question_id", "answer")


def score(ground_truth: GroundTruth, predictions: list[Entry]) -> dict[str, float]:
    """The mean credit of answers.

    Args:
        ground_truth: annotations with `question_id` and `answers`, those of several people.
        predictions: entries with `question_id` and `answer`.

    Returns:
        `accuracy`, where a question without a prediction has credit 0, and `questions`, how many
        there are.

    Raises:
        ValueError: an entry cannot be scored, or there is no question.
    """
    check(ground_truth, predictions, _TRUTH_FIELDS, _FIELDS)
    answers = {entry["question_id"]: entry["answer"] for entry in predictions}
    questions = {entry["question_id"]: entry for entry in ground_truth["annotations"]}
    unknown = answers.keys() - questions.keys()
    if unknown:
        first = min(unknown, key=str)
        raise ValueError(f"predictions: question_id {first!r} is not in the ground truth")
    if not questions:
        raise ValueError("ground truth: no question")
    total = 0.0
    for question in ground_truth["annotations"]:
        answer = answers.get(question["question_id"])
        if answer is not None:
            total += credit(answer, _people(question))
    count = len(ground_truth["annotations"])
    return {"accuracy": total / count, "questions": count}


def credit(answer: str, people: Sequence[str]) -> float:
    """How right an answer is, in [0, 1].

    Args:
        answer: the answer to judge.
        people: the answers that people gave.
    """
    normalised = normalise_answer(answer)
    matches = [normalise_answer(other) == normalised for other in people]
    if len(people) == 1:
        return float(matches[0])
    total = 0.0
    for match in matches:
        others = sum(matches) - match
        total += min(1.0, others / 3)
    return total / len(people)


def normalise_answer(answer: str) -> str:
    """Lower case, without articles, apostrophes and other punctuation, numbers to ten as digits."""
    text = re.sub(r"(?<=\d),(?=\d)|['\u2019]", "", answer.lower())
    text = re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w\s.]|_", " ", text)
    words = [word for word in text.split() if word not in _ARTICLES]
    return " ".join(_DIGITS.get(word, word) for word in words)


def _people(question: Entry) -> list[str]:
    """The answers that people gave; the challenge's files wrap each in a mapping."""
    answers = []
    for answer in question["answers"]:
        answers.append(answer if isinstance(answer, str) else answer["answer"])
    return answers
