"""`fld parse`: what the texts of a file say and, on request, what the text filter makes of them."""

from __future__ import annotations

import argparse
import json
import sys

from pipeline.commands.group import CommandGroup, Output, add_overrides


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    command = group.add("parse", "objects, attributes, actions, noun phrases of texts")
    command.add_argument(
        "file",
        metavar="FILE",
        help="one text on each line, - for standard input; or a Parquet file",
    )
    command.add_argument(
        "--column", default="caption", help="of a Parquet file: the column with the texts"
    )
    command.add_argument(
        "--filter",
        metavar="GRANULARITY",
        help="add `dropped`, the reason why the text filter drops a text of this granularity"
        " (brief, detailed, more_detailed, alt); print counts by reason on standard error",
    )
    add_overrides(command, "settings of the filter: alt.max_objects=20")
    command.set_defaults(command=parse, prints=True)


def parse(args: argparse.Namespace) -> Output:
    """Print one JSON object for each text."""
    from pipeline.config.compose import dotlist
    from pipeline.config.validation import build
    from pipeline.quality.texts import count_line, parse_texts, read_texts
    from stages import registry

    texts = read_texts(args.file, args.column)
    text_filter = None
    if args.filter:
        stage, config = registry.load("text_filter")
        text_filter = stage(build(config, dotlist(args.overrides, config), ""))
    rows = parse_texts(texts, args.filter, text_filter)
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))
    if args.filter:
        print(count_line(rows), file=sys.stderr)
    return Output()
