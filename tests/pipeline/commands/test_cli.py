"""The command line as a whole: headings of the help, closed pipes, and what `--json` prints."""

import argparse
import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.commands import look
from pipeline.commands.group import Output

HEADINGS = {
    "label": ["label", "run", "plan", "models", "submit", "settings"],
    "look": ["status", "explain", "report"],
    "measure": ["evaluate", "calibrate", "stats", "audit", "parse", "bench"],
    "train": ["train", "study", "export-backbone"],
    "maintain": ["retry", "verify", "gc", "dedup"],
    "publish": ["export", "release", "review"],
}


def test_the_help_lists_commands_under_headings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    listed: dict[str, list[str]] = {}
    heading = ""
    for line in printed.split("options:")[1].splitlines()[2:]:
        if found := re.match(r"(\w+):$", line):
            heading = found[1]
            listed[heading] = []
        elif found := re.match(r"  ([\w-]+)  +\S", line):
            listed[heading].append(found[1])
    assert listed == HEADINGS
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("command", [name for names in HEADINGS.values() for name in names])
def test_every_listed_command_is_there_and_has_a_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: fld {command}" in capsys.readouterr().out


@pytest.mark.subprocess
@pytest.mark.parametrize("words", [["parse", "texts.txt"], ["parse", "--help"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a dog\n" * 2000)
    command = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(cli.__file__).parents[1]), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None and command.stderr is not None
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait() == 1
    command.stderr.close()


def test_nothing_but_the_answer_reaches_the_descriptor_of_standard_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A library in C++ and a child process write to it, and not to `sys.stdout`."""

    def report(args: argparse.Namespace) -> Output:
        os.write(1, b"C++ talks\n")
        print("Ray talks")
        return Output(text="the answer")

    monkeypatch.setattr(look, "report", report)
    assert cli.main(["report", "work"]) == 0
    out, err = capfd.readouterr()
    assert out == "the answer\n"
    assert "C++ talks" in err and "Ray talks" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_in_one_line_with_the_code_of_the_shell(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(args: argparse.Namespace) -> Output:
        os.kill(os.getpid(), number)
        return Output(text="it goes on")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(look, "report", report)
    # Whoever runs the tests in the background of a shell makes them ignore Ctrl-C.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main(["report", "work"]) == code
    finally:
        signal.signal(signal.SIGINT, interrupt)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "fld: stopped; the same command resumes\n")
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(errno.ENOSPC, "", "/w/a"), 1, "/w/a: No space left on device; make room there"),
        (OSError(errno.EDQUOT, "", "/w/a"), 1, "/w/a: Disk quota exceeded; make room there"),
        (OSError(errno.EROFS, "", "/w/a"), 1, "/w/a: Read-only file system; make it writable"),
        (OSError(errno.EFBIG, "", "/w/a"), 1, "/w/a: File too large; raise the limit (ulimit -f)"),
        (OSError(errno.EACCES, "", "/w/a"), 1, "/w/a: Permission denied; give the right to use it"),
        (PermissionError("Access Denied by the store"), 1, "Access Denied by the store"),
        (OSError(errno.ENOENT, "", "/w/a"), 2, "/w/a: No such file or directory"),
    ],
)
def test_a_disk_or_store_that_refuses_is_told_by_the_path(
    error: OSError,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def report(args: argparse.Namespace) -> Output:
        raise error

    monkeypatch.setattr(look, "report", report)
    assert cli.main(["report", "work"]) == code
    assert capsys.readouterr().err.startswith(f"fld: error: {line}")


def test_with_json_a_command_prints_its_object_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(args: argparse.Namespace) -> Output:
        print("a library talks")
        return Output(text="for people", value={"for": "programs"}, exit_code=1)

    monkeypatch.setattr(look, "status", status)
    assert cli.main(["status", "work", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"for": "programs"} and out.count("\n") == 1
    assert err == "a library talks\n"
    assert cli.main(["status", "work"]) == 1
    assert capsys.readouterr().out == "a library talks\nfor people\n"


def test_a_full_disk_is_no_mistake_of_the_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(args: argparse.Namespace) -> Output:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/report.html")

    monkeypatch.setattr(look, "status", status)
    assert cli.main(["status", "work"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fld: error: /data/report.html: No space left on device; make room")


def test_settings_may_stand_behind_options(capsys: pytest.CaptureFixture[str]) -> None:
    args = cli._arguments(["dedup", "work", "distance=3", "--json", "mirrored=true"])
    assert args.overrides == ["distance=3", "mirrored=true"]
    for words in (["dedup", "work", "--jsno"], ["status", "work", "limit=3"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 2
        assert f"unknown argument {words[-1]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["labell", "photos"], "fld: error: no command labell; did you mean label?"),
        (["photos"], "fld: error: no command photos; `fld --help` lists the commands"),
        (["label"], "fld label: error: the following arguments are required: DIR"),
        (["label", "photos", "--modles", "x"], "fld label: error: unknown argument --modles"),
    ],
)
def test_words_that_fit_no_command_are_told_with_the_usage(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: fld ") and said.err.splitlines()[-1] == message
