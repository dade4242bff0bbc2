"""`fld`: each command composes a configuration or opens a work folder and calls one function."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from pipeline.commands import bench, maintain, measure, parse, train
from pipeline.errors import RunFailed, ShardsFailed
from pipeline.release import coco


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when everything asked for is there, 2 for a user's mistake, told in one line."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)  # argparse takes no settings behind an option
    if rest and (not hasattr(args, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unknown argument {rest[0]}")
    if rest:
        args.overrides += rest
    try:
        return int(args.command(args))
    except ValueError as error:
        if os.environ.get("FLD_DEBUG"):
            raise
        print(f"fld: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except RunFailed as error:
        if os.environ.get("FLD_DEBUG"):
            raise
        more = (
            "; the rest is done, the same command tries again"
            if isinstance(error, ShardsFailed)
            else ""
        )
        print(f"fld: error: {' '.join(str(error).split())}{more}", file=sys.stderr)
        return 1
    except OSError as error:
        if os.environ.get("FLD_DEBUG"):
            raise
        print(f"fld: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fld: stopped; the same command resumes", file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    from pipeline.config import saved
    from pipeline.ingest.assignment import assign, list_source
    from pipeline.refinement.executor import run_loop
    from pipeline.report.data import publish_report
    from pipeline.storage import lease

    values, run_config = _configured(args)
    names = list_source(run_config.source)
    store = _store(run_config.work)
    with lease.held(store):
        assign(
            store, run_config.source, names, publish=False
        )  # another source is refused before anything is written
        saved.save(store, values)
        run_loop(store, run_config, names)
        print(publish_report(store, run_config.experiment))
    return 0


def plan(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pipeline.ingest.assignment import list_source
    from pipeline.refinement.planning import plan_run
    from pipeline.report.terminal import columns

    _, run_config = _configured(args)
    stages = plan_run(_store(run_config.work), run_config, list_source(run_config.source))
    if args.json:
        print(json.dumps([asdict(stage) for stage in stages]))
        return 0
    rows: list[list[str]] = []
    for stage in stages:
        folder = stage.folder or "known then"
        rows.append([stage.stage, str(stage.done), str(stage.todo), folder])
    print(columns([["stage", "done", "to do", "folder"], *rows]))
    return 0


def status(args: argparse.Namespace) -> int:
    from pipeline.report import status
    from pipeline.report.terminal import live, status_text

    store = _existing(args.work)
    if args.json:
        print(json.dumps(status.status(store, 1000 if args.limit is None else args.limit)))
        return 0
    limit = 10 if args.limit is None else args.limit
    state = status.status(store, limit)
    if sys.stdout.isatty() and (args.watch or state["state"] == "running"):
        live(lambda: status.status(store, limit), args.watch)
    else:
        print(status_text(state))
    return 0


def explain(args: argparse.Namespace) -> int:
    from pipeline.report import history
    from pipeline.report.explain import explain as text

    sample = history.sample_history(_existing(args.work), args.key)
    print(json.dumps(history.as_json(sample)) if args.json else text(sample))
    return 0


def report(args: argparse.Namespace) -> int:
    from pipeline.config import saved
    from pipeline.report.data import publish_report

    store = _existing(args.work)
    print(publish_report(store, saved.values(store)["experiment"]))
    return 0


def _configured(args: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    from pipeline.config import compose, parse

    values = (
        compose.load(args.config, args.overrides)
        if args.config
        else compose.compose(args.overrides)
    )
    values = parse.with_absolute_paths(values, parse.parse(values))
    return values, parse.parse(values)


def _store(url: str) -> Any:
    from pipeline.storage.store import Store

    store = Store(url)
    store.check_usable()
    return store


def _existing(url: str) -> Any:
    from pipeline.config import saved

    return saved.existing(url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fld", description="Label images the way FLD-5B was labelled."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function, text in (
        ("run", run, "label, train, re-label: the whole loop; the same command resumes"),
        ("plan", plan, "what `fld run` would do and what it would reuse; runs nothing"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "overrides", nargs="*", metavar="KEY=VALUE", help="experiment=photos work=DIR a.b=c ..."
        )
        command.add_argument(
            "--config", help="a saved resolved config (WORK/config.yaml) to start from"
        )
        command.set_defaults(command=function)
        if name == "plan":
            command.add_argument(
                "--json", action="store_true", help="one JSON object on standard output"
            )
    for name, function, text in (
        (
            "status",
            status,
            "progress, rate, failures; live in a terminal while a run goes on; reads files only",
        ),
        ("explain", explain, "everything that happened to one sample"),
        ("report", report, "write WORK/report.html: numbers, curves, pictures"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("work", metavar="WORK", help="the work folder of a run")
        command.set_defaults(command=function)
        if name != "report":
            command.add_argument(
                "--json", action="store_true", help="one JSON object on standard output"
            )
        if name == "status":
            command.add_argument(
                "--limit", type=int, help="failed samples to list: 10, with --json 1000"
            )
            command.add_argument(
                "--watch",
                action="store_true",
                help="in a terminal: follow also before and after a run",
            )
        if name == "explain":
            command.add_argument(
                "key", metavar="KEY", help="the sample's key, or its name in the source"
            )
    measure.add(commands)
    train.add(commands)
    bench.add(commands)
    parse.add(commands)
    coco.add(commands)
    maintain.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
