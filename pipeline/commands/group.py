"""What all commands share: a place under a heading of `fld --help`, and an output to print."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.config.words import RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command returns to `fld`, which prints either the text or the value."""

    text: str = ""
    """Printed on standard output without `--json`. Nothing is printed for an empty text."""
    value: object = None
    """Plain values, printed as one JSON object on standard output with `--json`."""
    exit_code: int = 0
    """0 when everything that was asked for is there."""


Command = Callable[[argparse.Namespace], Output]


class CommandGroup:
    """The commands under one heading of `fld --help`."""

    def __init__(self, subparsers: Any, heading: str) -> None:
        self._subparsers = subparsers
        self._heading = heading
        self._summaries: dict[str, str] = {}

    def add(self, name: str, summary: str, **options: Any) -> argparse.ArgumentParser:
        """Register a command by its name; `summary` is its line in `fld --help`.

        `options` go to `argparse.ArgumentParser`.
        """
        self._summaries[name] = summary
        options.setdefault("description", summary)
        # Without `help`, argparse leaves the command out of its own list, which has no headings.
        parser: argparse.ArgumentParser = self._subparsers.add_parser(name, **options)
        return parser

    def help_text(self) -> str:
        """The heading and a line for each command."""
        lines = [f"{self._heading}:"]
        for name, summary in self._summaries.items():
            lines.append(f"  {name:<17}{summary}")
        return "\n".join(lines)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option `--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def add_keep_going(parser: argparse.ArgumentParser) -> None:
    """Add the option `--keep-going`."""
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="go on when a stage fails on sample after sample in the same way, or on every sample;"
        " each is a row",
    )


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add the argument WORK."""
    parser.add_argument("work", metavar="WORK", help="the work folder of a run")


def add_round(parser: argparse.ArgumentParser) -> None:
    """Add the argument ROUND."""
    parser.add_argument("round", metavar="ROUND", help="WORK, or WORK/rounds/NN-...")


def add_image_source(parser: argparse.ArgumentParser) -> None:
    """Add the option `--image-source`."""
    parser.add_argument(
        "--image-source",
        default="",
        metavar="NAME",
        help="only the images of this source of a run with several (sources.NAME)",
    )


def add_overrides(parser: argparse.ArgumentParser, examples: str) -> None:
    """Add the arguments KEY=VALUE, and the rule by which values are read."""
    # Without a default argparse says that KEY=VALUE is required.
    parser.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help=examples)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = RULE


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Progress on standard error; the function takes how many units are done, and of how many."""
    from pipeline.execution.progress import progress

    with progress(title, unit) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
