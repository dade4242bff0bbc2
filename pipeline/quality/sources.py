"""The sources of labels that a user names by `--source`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pipeline.rows import Record


def check_sources(names: Sequence[str], records: Iterable[Record]) -> None:
    """Check that labels of each named source are in a round, kept or dropped.

    Raises:
        ValueError: there is no label of a source; one line names the nearest that there is.
    """
    if not names:
        return
    found = set[str]()
    for record in records:
        found |= {annotation.source for annotation in record.annotations.all()}
    for name in names:
        if name in found:
            continue
        near = difflib.get_close_matches(name, found, n=1)
        hint = f"choose from {', '.join(sorted(found))}" if found else "it has no labels at all"
        if near:
            hint = f"did you mean {near[0]}?"
        raise ValueError(f"--source {name}: the round has no label of this source; {hint}")
