"""A stage in a child process, for shards that have killed their worker before.

A crash of the child becomes an exception of the batch, so the worker's ordinary search for the sample that breaks a
batch finds the one that kills a process, too.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from stages.base import Batch, Result, Stage


class StageDied(RuntimeError):
    """The child that ran the stage ended without an answer."""


class Isolated:
    """Has the interface of the stage that `load` makes, runs it in a child, and starts a new child after a crash."""

    def __init__(self, load: Callable[[], Stage]) -> None:
        self._load = load
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None

    def __call__(self, batch: Batch) -> list[Result]:
        if self._process is None:
            self._pipe, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(self._load, theirs), daemon=True)
            self._process.start()
            theirs.close()
        assert self._pipe is not None
        try:
            self._pipe.send(list(batch))
            answer = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            code, self._process = self._process.exitcode, None
            raise StageDied(f"the process ended with {_describe(code)}") from error
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._process = None


def _serve(load: Callable[[], Stage], pipe: Connection) -> None:
    stage = load()
    while True:
        batch: Sequence[Any] = pipe.recv()
        try:
            pipe.send(stage(batch))
        except Exception as error:  # carried to the worker, which raises it again
            pipe.send(error)


def _describe(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
