"""What `fld release verify` finds: one line each, which names the file and the sample."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MOST_PER_FILE = 20
"""Findings of one file that are listed; the rest is counted."""
OTHER_BYTES = "its sha256 is not that of SHA256SUMS"
"""The problem of a file that is not the one which was released."""
MAX_TEXT = 300
"""Characters of what a finding says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    file: str
    """Its name in the release."""
    key: str = ""
    """The sample that it is about; empty for the file as a whole."""
    problem: str

    @property
    def line(self) -> str:
        """The finding as it is printed."""
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.problem}"


@dataclass(slots=True)
class Findings:
    """All findings so far. A file that is wrong throughout does not fill the list."""

    listed: list[Finding] = field(default_factory=list)
    _of_file: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        file: str,
        problem: str,
        key: str = "",
    ) -> None:
        """Note a finding."""
        self._of_file[file] += 1
        if self._of_file[file] <= MOST_PER_FILE:
            text = " ".join(problem.split())[:MAX_TEXT]
            self.listed.append(Finding(file=file, key=key, problem=text))

    def all(self) -> list[Finding]:
        """The findings, with a line for each file that has more than are listed."""
        found = list(self.listed)
        for file, count in self._of_file.items():
            if count > MOST_PER_FILE:
                problem = f"and {count - MOST_PER_FILE:,} more like these"
                found.append(Finding(file=file, problem=problem))
        return found
