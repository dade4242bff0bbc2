"""`fld bench`: a performance target against its baseline."""

from __future__ import annotations

import argparse

from pipeline.commands.group import CommandGroup, Output, add_json, add_overrides


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    from stages.registry import BENCHES

    names = sorted(BENCHES)
    command = group.add("bench", "a performance target against its baseline, in one run")
    command.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    add_overrides(command, "settings of the bench, such as threads=1")
    command.add_argument(
        "--full", action="store_true", help="with the controls that take long (full=true)"
    )
    add_json(command)
    command.set_defaults(command=bench)


def bench(args: argparse.Namespace) -> Output:
    """Run the bench."""
    import yaml

    from pipeline.benches.run import run_bench

    overrides = list(args.overrides)
    if args.full:
        overrides.append("full=true")
    result = run_bench(args.name, overrides)
    text = yaml.safe_dump(result, sort_keys=False, width=120).removesuffix("\n")
    return Output(text=text, value=result)
