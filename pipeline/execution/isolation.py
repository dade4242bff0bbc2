"""A stage in a child process, for shards that have killed their worker before.

If the child crashes, the batch raises an exception. The worker's usual search for the sample that
breaks a batch therefore also finds the sample that kills a process.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from pipeline.execution.threads import bound_threads

LoadStage = Callable[[], Callable[[Any], list]]


class StageDied(RuntimeError):
    """The child process ended without an answer."""


class Isolated:
    """A stage that runs in a child process. It is called as the stage itself would be.

    After a crash a new child is started. What `load` raises is raised by the constructor, because a
    model that cannot be loaded is not the fault of any sample.
    """

    def __init__(self, load: LoadStage, threads: int) -> None:
        self._load = load
        self._threads = threads
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def __call__(self, batch: Sequence[Any]) -> list[Any]:
        if not self._process.is_alive():
            # It ended between two batches, so none of the samples is at fault.
            self._start()
        try:
            return list(self._ask(list(batch)))
        except StageDied:
            self._start()
            raise

    def close(self) -> None:
        """End the child process."""
        self._process.terminate()
        self._process.join()

    def _start(self) -> None:
        self._pipe, child_end = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(self._load, self._threads, child_end), daemon=True
        )
        self._process.start()
        child_end.close()
        self._receive()

    def _ask(self, batch: list[Any]) -> Any:
        try:
            self._pipe.send(batch)
        except ConnectionError as error:
            raise self._died() from error
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._died() from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _died(self) -> StageDied:
        self._process.join()
        return StageDied(f"the process ended with {_describe(self._process.exitcode)}")


def _serve(load: LoadStage, threads: int, pipe: Connection) -> None:
    """The child: load the stage, then answer batch after batch."""
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
        except Exception as error:
            # `Isolated` raises it again in the worker.
            pipe.send(error)


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code}"
    return f"exit code {code}"
