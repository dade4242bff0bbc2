"""The machines of a cluster must see the work folder, or what they write is lost with them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipeline.storage import layout_journal, lease
from pipeline.storage.store import Store

ANSWER_SECONDS = 120.0
NVIDIA = Path("/proc/driver/nvidia/gpus")
"""Has a folder for each GPU where the driver of NVIDIA runs."""


def check_work_seen(store: Store) -> None:
    """Check that every machine of the cluster sees this work folder; a store behind a URL is seen.

    Ray must run. A cluster of one machine is not asked.

    Raises:
        ValueError: a machine does not see it, or sees another folder under its name.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    holder = lease.holder(store) if store.local and len(nodes) > 1 else None
    if holder is None:
        return
    found = blind(
        store.path(layout_journal.LEASE), holder["pid"], [node["NodeID"] for node in nodes]
    )
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
    if found:
        named = ", ".join(addresses[node] for node in found)
        raise ValueError(
            f"work={store.url}: {named} of the cluster does not see this folder; give one that all "
            "machines share, or a URL such as s3://BUCKET/NAME"
        )


def this_machine() -> dict[str, float]:
    """What Ray would find on this machine: CPU cores and NVIDIA GPUs. Ray is not asked.

    CUDA_VISIBLE_DEVICES hides GPUs, as it does from Ray.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = len(list(NVIDIA.iterdir())) if NVIDIA.is_dir() else 0
    if visible is not None:
        named = [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
        gpus = min(gpus, len(named))
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(gpus)}


def blind(path: str, pid: int, nodes: list[str]) -> list[str]:
    """Those of some nodes, by Ray's ids, that do not see the lease of process `pid` at `path`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(_holder)
    answers = []
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        answers.append(ask.options(scheduling_strategy=strategy).remote(path))
    holders: list[int | None] = ray.get(answers, timeout=ANSWER_SECONDS)
    return [node for node, holder in zip(nodes, holders, strict=True) if holder != pid]


def _holder(path: str) -> int | None:
    """The process that a lease on this machine names; None if there is no lease."""
    try:
        with open(path) as file:
            return int(json.load(file)["pid"])
    except (OSError, ValueError):
        return None
