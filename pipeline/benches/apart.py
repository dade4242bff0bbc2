"""A function in a process of its own, with the time and the memory that it took.

As a program: `python -m pipeline.benches.apart MODULE:FUNCTION FOLDER` prints the cost as JSON.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import WorkerFailed
from pipeline.execution.streams import output_to_stderr
from stages import registry

LINUX_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a function took."""

    seconds: float
    """By the clock."""
    cpu_seconds: float
    """Of all threads of its process."""
    peak_gb: float
    """The most memory of its process, in 10^9 bytes, with Python and all libraries."""


def cost_of(target: str, folder: Path) -> Cost:
    """What the call of a function ("module:name") with a folder costs in a fresh process.

    Raises:
        WorkerFailed: it failed; its message is on standard error.
    """
    command = [sys.executable, "-m", "pipeline.benches.apart", target, str(folder)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise WorkerFailed(f"{target} ended with exit code {ended.returncode}")
    return Cost(**json.loads(ended.stdout))


def measured(target: str, folder: Path) -> Cost:
    """What a call costs in this process, which has done nothing else."""
    function = registry.resolve(target)
    started = time.perf_counter()
    function(folder)
    seconds = time.perf_counter() - started
    return Cost(seconds=seconds, cpu_seconds=time.process_time(), peak_gb=_peak() / 1e9)


def _peak() -> int:
    """The most memory that this process had, in bytes.

    On Linux `ru_maxrss` is at least what the parent had when it forked; the status is not.
    """
    if LINUX_STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", LINUX_STATUS.read_text())
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    with output_to_stderr():
        cost = measured(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps(asdict(cost)))
