"""Standard output and standard error as descriptors, which C++ and child processes use, too."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def pointed(descriptor: int, target: int) -> Iterator[None]:
    """Let what is written to a file descriptor go to `target` while the block runs."""
    _flush()
    saved = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        _flush()
        os.dup2(saved, descriptor)
        os.close(saved)


@contextlib.contextmanager
def output_to_stderr() -> Iterator[None]:
    """Let everything that is written to standard output go to standard error.

    Ray prints `(raylet) A worker died ...` to `sys.stdout` from a thread of its own, and libraries
    in C++ write to the file descriptor.
    """
    with pointed(STDOUT, STDERR), contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def captured_stderr() -> Iterator[IO[str]]:
    """A file with what is written to the descriptor of standard error while the block runs."""
    with tempfile.TemporaryFile("w+", errors="replace") as file, pointed(STDERR, file.fileno()):
        yield file


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A stream is closed or gone where the reader has left, or where a test has replaced it.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
