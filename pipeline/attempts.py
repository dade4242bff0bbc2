"""Marks of started work, so that a shard that kills its worker is noticed.

A mark is written before a shard and removed after it, also after an error that Python sees; only the death of the
process leaves it. From the third attempt on the stages run in child processes (`pipeline.isolate`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.lease import alive, this_process
from pipeline.store import Store

DEATHS_BEFORE_ISOLATION = 2


@contextmanager
def mark(store: Store, work: str, shard: str) -> Iterator[bool]:
    """Mark `shard` as begun for the block; yields whether earlier attempts have died often enough to isolate it."""
    folder = f"journal/attempts/{work}/{shard}"
    deaths = sum(_died(store.read_json(f"{folder}/{name}")) for name in store.list(folder))
    store.publish_json(f"{folder}/{uuid.uuid4().hex}.json", this_process())
    try:
        yield deaths >= DEATHS_BEFORE_ISOLATION
    finally:
        store.remove(folder)


def _died(who: dict[str, Any]) -> bool:
    """A reboot takes every process with it, so a mark of an earlier boot of this host says nothing about the shard."""
    me = this_process()
    if who["host"] == me["host"] and who["boot"] != me["boot"]:
        return False
    return not alive(who)
