"""Why samples of a shard failed in a stage, in a file of the journal for each of both.

The tables hold a reason and a line for each failure; here is the traceback, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.errors import RunFailed
from pipeline.storage import layout_journal
from pipeline.storage.store import Store

SAMPLES = "fld.samples"
"""The logger that is told of each sample that fails: its key, the reason, and the exception."""
MAX_ENTRIES = 200
"""Failures that a log describes; a stage that fails on all samples says the same of each."""
FORMAT = logging.Formatter("%(asctime)s %(message)s")


class ShardLog(logging.Handler):
    """Collects what is logged of the samples of one shard, and publishes it at the end."""

    def __init__(self, store: Store, shard: str) -> None:
        super().__init__()
        self._store = store
        self._shard = shard
        self._stage = ""
        self._entries: dict[str, list[str]] = {}

    def __enter__(self) -> ShardLog:
        logger = logging.getLogger(SAMPLES)
        logger.addHandler(self)
        # A worker prints nothing for a sample; it would be thousands of lines.
        logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(SAMPLES).removeHandler(self)
        for stage, entries in self._entries.items():
            text = "".join(f"{entry}\n" for entry in entries)
            # The run is about labels; a log that cannot be written does not end it.
            with suppress(OSError, RunFailed):
                self._store.publish(layout_journal.log(stage, self._shard), text.encode())

    @contextmanager
    def of_stage(self, stage: str) -> Iterator[None]:
        """Take what is logged in the block for this stage."""
        self._stage = stage
        yield

    def emit(self, record: logging.LogRecord) -> None:
        entries = self._entries.setdefault(self._stage, [])
        if len(entries) < MAX_ENTRIES:
            entries.append(FORMAT.format(record))
