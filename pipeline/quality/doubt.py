"""How little is known of a sample's labels: what people review first, and what the report shows.

How certain a label is: its `confidence` after a merge, else its `agreement` within an ensemble,
else the `score` of its source.
"""

from __future__ import annotations

from pipeline.schema import Annotations, Region

MEASURE = "mean of 1 - (confidence, else agreement, else score) over the kept machine-made boxes"
"""`doubt_of` in words."""


def doubt_of(annotations: Annotations) -> float | None:
    """The mean of 1 - certainty over the kept boxes of machines: 0 to 1.

    None if nothing is known of any of them.
    """
    doubts = []
    for region in annotations.kept().regions:
        certainty = _certainty(region)
        if certainty is not None and not region.locked:
            doubts.append(1 - min(max(certainty, 0.0), 1.0))
    return sum(doubts) / len(doubts) if doubts else None


def _certainty(region: Region) -> float | None:
    for value in (region.confidence, region.agreement, region.score):
        if value is not None:
            return value
    return None
