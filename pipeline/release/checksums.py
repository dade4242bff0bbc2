"""`SHA256SUMS`, in the format of `sha256sum -c`: the last file of a release to be written."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def checksum_lines(sums: Mapping[str, str]) -> str:
    """The text of the file: one line for each file of the release, in alphabetical order.

    `sums` has the sha256 by the name in the release.
    """
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def parse_checksums(text: str) -> tuple[dict[str, str], list[str]]:
    """(the sha256 by the name of each file, lines that are broken)."""
    sums = {}
    broken = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in sums:
            broken.append(line)
        else:
            sums[match[2]] = match[1]
    return sums, broken
