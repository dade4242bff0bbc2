"""What `fld run` says of failed samples when it ends."""

from __future__ import annotations

import logging
import shlex

from pipeline.ingest import failures
from pipeline.ingest.assignment_log import count_shards
from pipeline.plan.journal import read_graph
from pipeline.storage.store import Store


def failures_text(store: Store) -> str:
    """How many samples failed in each stage, why, the first of them, and how to list them.

    Empty if none failed. Where more than half failed, a warning says so, too.
    """
    found = failures.by_stage(store, read_graph(store), count_shards(store))
    if not found:
        return ""
    for stage in found:
        if stage.is_most:
            logging.getLogger("fld").warning("most samples failed: %s", stage)
    lines = [f"failed: {stage}" for stage in found]
    total = sum(stage.failed for stage in found)
    again = f"`fld retry {shlex.quote(store.url)}` tries them again"
    return "\n".join(["", *lines, f"{failures.listing(store, total)}; {again}"])
