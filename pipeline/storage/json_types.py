"""The type of JSON objects that no class describes."""

from __future__ import annotations

from typing import Any

# The values are whatever a file, a user or another program has put there, and Python has no type
# for a key that is read at run time. Objects whose keys are known have a `TypedDict` or a
# dataclass instead; this alias is for the rest.
Json = dict[str, Any]
