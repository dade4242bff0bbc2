"""A stage in a child process, for shards that have killed their worker before.

A crash of the child becomes an exception of the batch, so the worker's ordinary search for the sample that breaks a
batch finds the one that kills a process, too.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from pipeline.execution.threads import bound_threads


class StageDied(RuntimeError):
    """The child that ran the stage ended without an answer."""


class Isolated:
    """Has the interface of the stage that `load` makes, runs it in a child, and starts a new child after a crash.

    Raises:
        Exception: what `load` raises, so that a model that cannot be loaded is no sample's fault.
    """

    def __init__(self, load: Callable[[], Callable[[Any], list]], threads: int) -> None:
        self._load, self._threads = load, threads
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def __call__(self, batch: Sequence[Any]) -> list[Any]:
        if not self._process.is_alive():  # it died of nothing that it was asked
            self._start()
        try:
            return list(self._answer(list(batch)))
        except StageDied:
            self._start()
            raise

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(self._load, self._threads, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self._answer()

    def _answer(self, batch: list[Any] | None = None) -> Any:
        try:
            if batch is not None:
                self._pipe.send(batch)
            answer = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            raise StageDied(
                f"the process ended with {_describe(self._process.exitcode)}"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve(load: Callable[[], Callable[[Any], list]], threads: int, pipe: Connection) -> None:
    bound_threads(threads)
    try:
        stage = load()
    except Exception as error:
        pipe.send(error)
        return
    pipe.send("loaded")
    while True:
        batch: Sequence[Any] = pipe.recv()
        try:
            pipe.send(stage(batch))
        except Exception as error:  # carried to the worker, which raises it again
            pipe.send(error)


def _describe(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
