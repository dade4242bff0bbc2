"""What the studies read of a model: for each question, the expected and the found places.

These are plain JSON values. `stages.florence.examine` and `stages.florence.detector` make them.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class PlaceEntry(TypedDict):
    """A box or a quad with its label."""

    label: str
    """What is there; empty for a proposal."""

    points: list[float]
    """xyxy of a box, or x, y of the four corners of a quad, in absolute pixels."""

    score: float
    """A probability; 1 for a place that is expected."""


class OutlineEntry(TypedDict):
    """The outlines of one mask."""

    polygons: list[list[float]]
    """x, y, x, y .. of each outline, in absolute pixels."""


Places = list[PlaceEntry] | list[OutlineEntry]


class AnswerEntry(TypedDict):
    """A question about a sample, and what the model answers."""

    key: str
    """The key of the sample."""

    size: list[int]
    """Width and height of the image, in pixels."""

    task: str
    """Token of the task."""

    prompt: NotRequired[str]
    """The question; a detector is not asked in words."""

    target: NotRequired[str]
    """The right answer as a target string."""

    answer: NotRequired[str]
    """The model's answer as a string."""

    expected: Places
    """The places of the right answer; empty if it has none."""

    found: Places
    """The places of the model's answer."""
