"""`fld models`: the models that a recipe names; which of them are here, and getting the others."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from pipeline.commands.group import CommandGroup, Output, add_json, add_overrides
from pipeline.storage.json_types import Json

# Settings that name models begin so.
NAMING = ("experiment", "specialists", "filters", "refine", "cluster")
EXAMPLES = "experiment=one_gpu a.b=c ..."


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    models = group.add("models", "the models of a recipe: list, fetch, check")
    what = models.add_subparsers(required=True, metavar="WHAT")
    add_json(_add(what, "list", "role, licence, size and commit of each model, and what is here"))
    _add(what, "fetch", "get what is missing, at the commits of the recipe; resumes")
    check = _add(what, "check", "what is missing, or only half there")
    check.add_argument(
        "--deep", action="store_true", help="also compare every file with its digest"
    )


def _add(what: Any, name: str, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = what.add_parser(name, help=summary, description=summary)
    add_overrides(command, EXAMPLES)
    command.add_argument("--config", help="a saved resolved config (WORK/config.yaml)")
    functions = {"list": list_models, "fetch": fetch_models, "check": check_models}
    command.set_defaults(command=functions[name])
    return command


def list_models(args: argparse.Namespace) -> Output:
    """The models of a recipe."""
    from pipeline.models.inventory import inventory, proposals, summary
    from pipeline.report.terminal import columns

    listed = inventory(_values(args))
    table = [["model", "role", "licence", "size", "commit", "here"]]
    table += [one.cells() for one in listed]
    lines = [columns(table), "", *proposals(listed), summary(listed, _typed(args))]
    text = "\n".join(lines)
    return Output(text=text, value={"models": [one.plain() for one in listed]})


def check_models(args: argparse.Namespace) -> Output:
    """What is missing or half there, one line each; exit code 1 if something is."""
    from pipeline.models.inventory import all_problems, inventory, summary

    listed = inventory(_values(args))
    lines = all_problems(listed, args.deep)
    if not lines:
        return Output(text=f"all {len(listed)} models are here")
    if any(one.is_to_fetch for one in listed):
        lines.append(summary(listed, _typed(args)))
    return Output(text="\n".join(lines), exit_code=1)


def fetch_models(args: argparse.Namespace) -> Output:
    """Fetch what is missing; one line for each model. One that cannot be had stops no other."""
    from pipeline.errors import RunFailed
    from pipeline.models.inventory import fetch, inventory

    lines = []
    failed = False
    for one in inventory(_values(args)):
        if not one.is_to_fetch:
            continue
        print(f"fld: {one.wanted.name} ({one.size or 'size unknown'})", file=sys.stderr)
        try:
            lines.append(fetch(one))
        except (ValueError, RunFailed) as error:
            lines.append(f"not fetched: {' '.join(str(error).split())}")
            failed = True
    if not lines:
        lines.append("nothing to fetch: all models are here")
    return Output(text="\n".join(lines), exit_code=int(failed))


def warn_of_missing(values: Json, typed: list[str]) -> None:
    """Warn of each model of a run that is not here, and how to get all of them.

    `typed` are the words of the command line; those that name models are repeated.
    """
    import logging

    from pipeline.models.inventory import all_problems, inventory, summary

    listed = inventory(values)
    lines = all_problems(listed)
    if not lines:
        return
    words = []
    for word in typed:
        if word.lstrip("+~").startswith(NAMING):
            words.append(shlex.quote(word))
    lines.append(summary(listed, words))
    for line in lines:
        logging.getLogger("fld").warning("%s", line)


def _values(args: argparse.Namespace) -> Json:
    """The plain settings of a recipe, whose models need not be there, nor be set."""
    from pipeline.config import compose
    from stages.hub import use_cache

    if args.config:
        values = compose.load(args.config, args.overrides)
    else:
        values = compose.compose(args.overrides)
    use_cache(values["cluster"].get("models"))
    return values


def _typed(args: argparse.Namespace) -> list[str]:
    """The words that name the recipe, to be typed again."""
    words = list(args.overrides)
    if args.config:
        words = ["--config", args.config, *words]
    return [shlex.quote(word) for word in words]
