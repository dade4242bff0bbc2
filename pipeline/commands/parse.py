"""`fld parse`: what the texts of a file say, and, asked for, what the text filter would make of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Register the command on `fld`'s subparsers."""
    command = commands.add_parser(
        "parse", help="objects, attributes, actions, noun phrases of each line of a file"
    )
    command.add_argument(
        "file", metavar="FILE", help="one text a line, - for standard input; or a Parquet file"
    )
    command.add_argument(
        "--column", default="caption", help="of a Parquet file: the column with the texts"
    )
    command.add_argument(
        "--filter",
        metavar="GRANULARITY",
        help="also say why the text filter drops a text of this granularity (brief, detailed, more_detailed, alt), as"
        " `dropped`; kept and dropped counts by reason on standard error",
    )
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="settings of the filter: alt.max_objects=20",
    )
    command.set_defaults(command=parse)


def parse(args: argparse.Namespace) -> int:
    from pipeline.storage.arrow import to_dict
    from stages import registry

    texts = read_texts(args.file, args.column)
    dropped = filtered(texts, args.filter, args.overrides) if args.filter else None
    for i, (text, found) in enumerate(
        zip(texts, registry.resolve(registry.PARSE)(texts), strict=True)
    ):
        more = {} if dropped is None else {"dropped": dropped[i]}
        print(json.dumps({"text": text, **more, **to_dict(found)}, ensure_ascii=False))
    if dropped is not None:
        counts = Counter(dropped)
        told = [
            f"kept {counts.pop(None, 0)}",
            *(f"{reason} {n}" for reason, n in counts.most_common()),
        ]
        print(f"{len(texts)} texts: {', '.join(told)}", file=sys.stderr)
    return 0


def read_texts(file: str, column: str) -> list[str]:
    """The lines of a text file, or the strings of a Parquet file's column.

    Raises:
        ValueError: no such file or column.
    """
    if file == "-":
        return sys.stdin.read().splitlines()
    if not Path(file).is_file():
        raise ValueError(
            f"{file}: no such file; give a file with one text a line, a Parquet file, or -"
        )
    if not file.endswith(".parquet"):
        return Path(file).read_text().splitlines()
    from pipeline.storage.parquet import parse_parquet

    table = parse_parquet(Path(file).read_bytes())
    if column not in table.column_names:
        raise ValueError(f"--column {column}: {file} has {', '.join(table.column_names)}")
    return [str(text or "") for text in table[column].to_pylist()]


def filtered(texts: Sequence[str], granularity: str, overrides: Sequence[str]) -> list[str | None]:
    """Why the text filter drops each text, None for those that it keeps."""
    from typing import cast, get_args

    from pipeline.config.compose import dotlist
    from pipeline.config.validation import build
    from pipeline.schema import Annotations, Granularity, Text
    from stages import registry
    from stages.base import Sample

    stage, options = registry.load("text_filter")
    if granularity not in get_args(Granularity):
        raise ValueError(
            f"--filter {granularity}: no such granularity; choose from {', '.join(get_args(Granularity))}"
        )
    settings = dotlist(overrides)
    parses = registry.resolve(registry.PARSE)(texts)
    given = [
        Text(id=str(i), granularity=cast(Granularity, granularity), text=text, parse=parse)
        for i, (text, parse) in enumerate(zip(texts, parses, strict=True))
    ]
    (result,) = stage(build(options, settings, ""))(
        [Sample("texts", (0, 0), annotations=Annotations(texts=given))]
    )
    reasons = {text.id: text.dropped for text in result.texts}
    return [reasons.get(text.id) for text in given]
