"""`fld`: each command composes a configuration or opens a work folder and calls one function."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from pipeline import learning, tools
from pipeline.errors import ShardsFailed
from pipeline.quality import commands as quality_commands


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
    except ShardsFailed as error:
        print(
            f"fld: error: {' '.join(str(error).split())}; the rest is done, the same command tries again",
            file=sys.stderr,
        )
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
    from pipeline import config, lease, rounds
    from pipeline.ingest import list_source

    values, run_config = _configured(args)
    names = list_source(run_config.source)
    store = _store(run_config.work)
    with lease.held(store):
        config.save(store, values)
        rounds.run_loop(store, run_config, names)
        print(_summary(store, run_config.experiment))
    return 0


def plan(args: argparse.Namespace) -> int:
    from pipeline import status as view
    from pipeline.ingest import list_source
    from pipeline.report.terminal import columns

    _, run_config = _configured(args)
    lines = view.plan(_store(run_config.work), run_config, list_source(run_config.source))
    if args.json:
        print(json.dumps(lines))
        return 0
    rows = [[line["stage"], str(line["done"]), str(line["todo"]), line["folder"] or "known then"] for line in lines]
    print(columns([["stage", "done", "to do", "folder"], *rows]))
    return 0


def status(args: argparse.Namespace) -> int:
    from pipeline import status as view

    state = view.status(_existing(args.work))
    print(json.dumps(state) if args.json else _status_text(state))
    return 0


def explain(args: argparse.Namespace) -> int:
    from pipeline import status as view

    print(view.tell(_existing(args.work), args.key))
    return 0


def report(args: argparse.Namespace) -> int:
    store = _existing(args.work)
    print(_summary(store, _experiment(store)))
    return 0


def _summary(store: Any, experiment: str) -> str:
    """Write the report and return what a terminal shows of it."""
    from pipeline import status as view
    from pipeline.report.html import write_report
    from pipeline.report.terminal import rounds_table

    data = view.report_data(store, experiment)
    store.publish("report.html", write_report(data).encode())
    return f"{rounds_table(data.rounds)}\n\nhead: {data.head}\nreport: {store.path('report.html')}"


def _configured(args: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    from pipeline import config

    values = config.load(args.config, args.overrides) if args.config else config.compose(args.overrides)
    return values, config.parse(values)


def _store(url: str) -> Any:
    from pipeline.store import Store

    store = Store(url)
    store.check_usable()
    return store


def _existing(url: str) -> Any:
    store = _store(url)
    if not store.exists("config.yaml"):
        raise ValueError(f"{url}: no work folder; give the `work` of an earlier `fld run`")
    return store


def _experiment(store: Any) -> str:
    import yaml

    return str(yaml.safe_load(store.read("config.yaml"))["experiment"])


def _status_text(state: dict[str, Any]) -> str:
    from pipeline.report.terminal import columns, reasons

    rows = [["stage", "shards", "samples", "failed"]]
    for stage in state["stages"]:
        failed = stage["samples"]["failed"]
        rows.append(
            [stage["stage"], f"{stage['done']}/{stage['total']}", str(stage["samples"]["in"]), reasons(failed) or "0"]
        )
    lines = [f"{state['work']}: {state['state']}", columns(rows)]
    now = state["now"]
    if now and state["state"] == "running":
        eta = f", {now['eta_seconds']:.0f} s left" if now["eta_seconds"] is not None else ""
        lines.append(f"now: {now['what']}  {now['done']}/{now['total']}  {now['per_second']:.2f}/s{eta}")
    lines += [f"round {made['round']}: {made['status']}: {made['reason']}" for made in state["rounds"]]
    lines.append(f"head: {state['head'] or 'none yet'}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fld", description="Label images the way FLD-5B was labelled.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function, text in (
        ("run", run, "label, train, re-label: the whole loop; the same command resumes"),
        ("plan", plan, "what `fld run` would do and what it would reuse; runs nothing"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="experiment=photos work=DIR a.b=c ...")
        command.add_argument("--config", help="a saved resolved config (WORK/config.yaml) to start from")
        command.set_defaults(command=function)
        if name == "plan":
            command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    for name, function, text in (
        ("status", status, "progress, rate, failures by reason; reads files only"),
        ("explain", explain, "everything that happened to one sample"),
        ("report", report, "write WORK/report.html: numbers, curves, pictures"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("work", metavar="WORK", help="the work folder of a run")
        command.set_defaults(command=function)
        if name == "status":
            command.add_argument("--json", action="store_true", help="one JSON object on standard output")
        if name == "explain":
            command.add_argument("key", metavar="KEY", help="the sample's key")
    quality_commands.add(commands)
    learning.add(commands)
    tools.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
