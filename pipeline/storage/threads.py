"""Reading many small files at once."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

IO_THREADS = 16
CHUNK = 64
"""Items that a thread takes at a time: handing over a single one costs more than a small file."""

A = TypeVar("A")
B = TypeVar("B")


def mapped(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """`map` by threads, for functions that wait for a disk or a store; the order stays.

    Only some chunks of `items` are on their way at a time, so memory does not grow with them.
    """

    def run(chunk: tuple[A, ...]) -> list[B]:
        return [function(item) for item in chunk]

    waiting: deque[Future[list[B]]] = deque()
    with ThreadPoolExecutor(IO_THREADS) as pool:
        for chunk in batched(items, CHUNK):
            waiting.append(pool.submit(run, chunk))
            if len(waiting) > 2 * IO_THREADS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def batched(items: Iterable[A], size: int) -> Iterator[tuple[A, ...]]:
    """The items in chunks; the last one may be smaller."""
    iterator = iter(items)
    while chunk := tuple(itertools.islice(iterator, size)):
        yield chunk
