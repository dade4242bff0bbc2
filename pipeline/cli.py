"""`fld`: the parser and the exit codes.

Each command composes a configuration or opens a work folder, and calls one function of a room
below. Commands live in `pipeline/commands`, one file per heading of `fld --help`.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from pipeline.commands import (
    bench,
    label,
    label_folder,
    look,
    maintain,
    measure,
    models,
    parse,
    publish,
    release,
    review,
    settings,
    submit,
    train,
)
from pipeline.commands.group import CommandGroup, Output
from pipeline.errors import RunFailed, ShardsFailed, Terminated, disk_full, is_disk_full, refused
from pipeline.execution.streams import output_to_stderr

GROUPS = {
    "label": (label_folder, label, models, submit, settings),
    "look": (look,),
    "measure": (measure, parse, bench),
    "train": (train,),
    "maintain": (maintain,),
    "publish": (publish, release, review),
}
DONE, FAILED, MISTAKE, STOPPED, TERMINATED = 0, 1, 2, 130, 143


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit code.

    0: everything that was asked for is there. 1: it could not be done. 2: the user's mistake, told
    in one line. 130: stopped by Ctrl-C. 143: stopped by SIGTERM.
    """
    try:
        try:
            return _run(argv)
        finally:
            # Flush here, where a closed pipe can be caught, and not when Python exits.
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone, as in `fld parse FILE | head`. Python flushes standard output once
        # more when it exits; that must not fail, so the output goes nowhere from here on.
        # Source: "Note on SIGPIPE" in the documentation of Python's signal module.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        return FAILED


def _run(argv: list[str] | None) -> int:
    args = _arguments(argv)
    try:
        with _terminable(), _warnings_shown():
            return _execute(args)
    except BrokenPipeError as error:
        if _reader_is_gone():
            raise
        # It is the pipe of another process.
        return _report_error(error)
    except (ValueError, RunFailed, OSError) as error:
        if os.environ.get("FLD_DEBUG"):
            raise
        return _report_error(error)
    except KeyboardInterrupt as stop:
        print("fld: stopped; the same command resumes", file=sys.stderr)
        return TERMINATED if isinstance(stop, Terminated) else STOPPED


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more."""
    poll = select.poll()
    with contextlib.suppress(ValueError, OSError):
        # A stream without a descriptor is one of a test.
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    """The parsed command line; settings (KEY=VALUE) may stand before and after options."""
    words = sys.argv[1:] if argv is None else argv
    interface = _interface()
    interface.check_command(words)
    # argparse does not accept positional arguments after an option, so they are left over.
    args, rest = interface.parser.parse_known_args(words)
    if not rest:
        return args
    takes_settings = hasattr(args, "overrides")
    for word in rest:
        if word.startswith("-") or not takes_settings:
            interface.commands[words[0]].error(f"unknown argument {word}")
    args.overrides = [*args.overrides, *rest]
    return args


def _execute(args: argparse.Namespace) -> int:
    """Run the command and print its text or, with `--json`, its value.

    Nothing else reaches standard output, except what a command prints itself (`prints`).
    """
    as_json = getattr(args, "json", False)
    prints = getattr(args, "prints", False) and not as_json
    output: Output
    with contextlib.nullcontext() if prints else output_to_stderr(), _ray_ended():
        output = args.command(args)
    if as_json:
        print(json.dumps(output.value))
    elif output.text:
        print(output.text)
    return output.exit_code


class _WarningLines(logging.Handler):
    """Writes each message of the logger `fld` as one line on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        # Standard error is looked up each time, because tests and `--json` exchange it.
        print(f"fld: warning: {record.getMessage()}", file=sys.stderr)


@contextlib.contextmanager
def _warnings_shown() -> Iterator[None]:
    """Show the warnings of the block, in the form of the errors."""
    logger = logging.getLogger("fld")
    handler = _WarningLines(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def _ray_ended() -> Iterator[None]:
    """End the Ray that the block has started, so that it prints nothing behind the answer."""
    was_running = _ray_runs()
    try:
        yield
    finally:
        if _ray_runs() and not was_running:
            sys.modules["ray"].shutdown()


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block like Ctrl-C, so that the work folder is left in order."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report_error(error: Exception) -> int:
    """Print one line on standard error and return the exit code."""
    if isinstance(error, OSError) and is_disk_full(error):
        error = disk_full(error, "a disk of this machine")
    elif isinstance(error, OSError):
        error = refused(error)
    message = " ".join(str(error).split())
    if isinstance(error, ShardsFailed):
        message += "; the rest is done, the same command tries again"
    print(f"fld: error: {message}", file=sys.stderr)
    return FAILED if isinstance(error, RunFailed) else MISTAKE


@dataclass(frozen=True, slots=True)
class _Interface:
    """The parser of `fld` and those of its commands."""

    parser: argparse.ArgumentParser
    commands: Mapping[str, argparse.ArgumentParser]
    """By the name of the command."""

    def check_command(self, words: Sequence[str]) -> None:
        """End with exit code 2 and the nearest name if the first word is no command.

        The message of argparse lists all commands in one line.
        """
        name = words[0] if words else ""
        if not name or name.startswith("-") or name in self.commands:
            return
        near = difflib.get_close_matches(name, self.commands, n=1)
        hint = f"did you mean {near[0]}?" if near else "`fld --help` lists the commands"
        self.parser.error(f"no command {name}; {hint}")


def _interface() -> _Interface:
    parser = argparse.ArgumentParser(
        prog="fld",
        usage="fld [-h] COMMAND ...",
        description="Label images the way FLD-5B was labelled.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # argparse cannot list commands under headings, so its own list is suppressed and the
    # headings stand in the epilog.
    subparsers = parser.add_subparsers(
        prog="fld", required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )
    sections = []
    for heading, modules in GROUPS.items():
        group = CommandGroup(subparsers, heading)
        for module in modules:
            module.add_commands(group)
        sections.append(group.help_text())
    sections.append("`fld COMMAND --help` shows the arguments of a command.")
    parser.epilog = "\n\n".join(sections)
    return _Interface(parser, subparsers.choices)


if __name__ == "__main__":
    sys.exit(main())
