"""How far a step is, on standard error: a bar in a terminal, else a line now and then.

A bar is drawn again and again over itself. In a log file that would be thousands of lines in one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LINE_SECONDS = 10.0
"""From one line to the next where standard error is no terminal."""


class Progress(Protocol):
    """What `progress` gives; `tqdm.tqdm` is one."""

    n: float
    """How many units are done."""
    total: float | None
    """Of how many, None while nobody knows."""

    def update(self, n: float = 1) -> object:
        """Count `n` more units as done."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> object:
        """Show some words behind the numbers from the next time on."""


@contextmanager
def progress(title: str, unit: str, total: int | None = None) -> Iterator[Progress]:
    """Show how many units of a step are done."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=title, unit=unit, dynamic_ncols=True) as bar:
            yield bar
        return
    lines = _Lines(title, unit, total)
    try:
        yield lines
    finally:
        lines.end()


class _Lines:
    """Prints a line every ten seconds, and a last one."""

    def __init__(self, title: str, unit: str, total: float | None) -> None:
        self.n: float = 0
        self.total = total
        self._title = title
        self._unit = unit
        self._words = ""
        self._started = self._printed = time.monotonic()
        self._shown: str | None = None

    def update(self, n: float = 1) -> None:
        """Count, and print a line if the last one is old."""
        self.n += n
        if time.monotonic() - self._printed >= LINE_SECONDS:
            self._print()

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Show some words behind the numbers of the next line."""
        self._words = s

    def end(self) -> None:
        """Print where it ended, unless the last line said so, or it failed before it began."""
        if not self.n and self.total is None:
            return
        if self._shown != self._numbers():
            self._print()

    def _numbers(self) -> str:
        of = "" if self.total is None else f"/{self.total:,.0f}"
        return f"{self._title}: {self.n:,.0f}{of} {self._unit}s"

    def _print(self) -> None:
        self._printed = time.monotonic()
        self._shown = self._numbers()
        seconds = self._printed - self._started
        line = f"{self._shown}, {seconds:.0f} s"
        if self.n and self.total and self.n < self.total:
            line += f", {seconds / self.n * (self.total - self.n):.0f} s left"
        if self._words:
            line += f", {self._words}"
        print(line, file=sys.stderr, flush=True)
