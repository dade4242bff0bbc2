"""Ranges of settings, as types: a value outside its range is refused before anything runs.

A threshold outside the range of what it is compared with decides nothing, or drops everything.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A share, a probability, an IoU, or the score of a label."""

ScoreThreshold = Annotated[float, Field(ge=0, le=1.1)]
"""A threshold for the scores of one source or class; above 1, which no score is, it drops all."""

Cosine = Annotated[float, Field(ge=-1, le=1)]
"""A cosine of two embeddings."""

Difference = Annotated[float, Field(ge=-1, le=1)]
"""The difference of two shares."""

LogProbability = Annotated[float, Field(le=0)]
"""The natural logarithm of a probability, in nats."""

Count = Annotated[int, Field(ge=0)]
"""How many there are."""

NotNegative = Annotated[float, Field(ge=0)]
"""A length or another size, in the unit that the setting names."""
