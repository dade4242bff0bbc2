"""`fld bench`: a thin command over functions of the stages, reached by registry name."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """Register the commands on `fld`'s subparsers."""
    from stages.registry import BENCHES

    command = commands.add_parser(
        "bench", help="a performance target against its baseline, both measured in one run"
    )
    command.add_argument(
        "name", choices=sorted(BENCHES), metavar="NAME", help=", ".join(sorted(BENCHES))
    )
    command.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings of the bench, such as threads=1"
    )
    command.add_argument(
        "--full", action="store_true", help="with the controls that take long (full=true)"
    )
    command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    command.set_defaults(command=bench)


def bench(args: argparse.Namespace) -> int:
    from typing import get_type_hints

    import yaml

    from pipeline.benches.machine import machine
    from pipeline.config.compose import dotlist
    from pipeline.config.validation import build
    from pipeline.execution.threads import bound_threads
    from stages import registry

    function = registry.resolve(registry.BENCHES[args.name])
    values = dotlist([*args.overrides, *["full=true"] * args.full])
    config = build(get_type_hints(function)["config"], values, "")
    bound_threads(getattr(config, "threads", 1))
    result = {**function(config), "machine": machine()}
    if args.json:
        print(json.dumps(result))
    else:
        print(yaml.safe_dump(result, sort_keys=False, width=120), end="")
    return 0
