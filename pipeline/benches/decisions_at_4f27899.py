"""As a program: what `fld bench decisions` measures, with the code of commit 4f27899.

It is started with the tree of that commit first on Python's path, so all of `pipeline` and `stages`
is of that commit. `python FILE WORK SHARD..` decides on each shard of a work folder in turn, and
prints the processor seconds of the last one; the others warm up.
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

SPECIALISTS = ("detect", "caption", "parse", "ocr", "score", "ground")


def main(work: str, shards: list[str]) -> None:
    """Decide on the stored signals of each shard."""
    config = importlib.import_module("pipeline.config")
    lineage = importlib.import_module("pipeline.lineage")
    registry = importlib.import_module("stages.registry")
    worker = importlib.import_module("pipeline.worker")

    # The types of that commit are not known here.
    nodes: list[Any] = []
    for name in (*SPECIALISTS, "region", "triplet", "round"):
        use, options, mark = name, None, "stored"
        if name not in SPECIALISTS:
            use, mark = f"{name}_filter", "earlier"
        if name in ("region", "triplet"):
            options = registry.load(use)[1]()
        node = lineage.Node(
            name=f"0.{name}",
            entry=config.Entry(name=name, use=use, options=options),
            round=0,
            reads=() if name in SPECIALISTS else tuple(node.name for node in nodes),
            fingerprint=mark,
            folder=f"rounds/00-{mark}" if name == "round" else f"signals/{name}-{mark}",
            kind="round" if name == "round" else "signals",
        )
        nodes.append(node)
    done = {node.name: ("0", "0") for node in nodes[: len(SPECIALISTS)]}
    done[lineage.IMAGES] = ("0", "0")
    decide = worker.Worker(work, nodes, [node.name for node in nodes[len(SPECIALISTS) :]])
    for shard in shards:
        started = time.process_time()
        decide(shard, done)
        seconds = time.process_time() - started
    print(seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
