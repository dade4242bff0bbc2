"""A Ray cluster of several nodes on this machine, with a token of its own.

Each node is a `ray start --block` in a session of its own. So a node can be killed as a whole, as
when its machine goes down, and no process is ended that the drill has not started.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.drills import object_store
from pipeline.drills.fragile import POISON
from pipeline.drills.ports import free_port
from pipeline.errors import ClusterFailed

NODES = 2
"""Nodes that work. The head has no CPU, so that no work is lost with another node's death alone."""
CPUS = 2
OBJECT_STORE_BYTES = 80 << 20
START_SECONDS = 120.0
STARTS = 3
"""A node ends by itself if one of its programs is not up in half a minute, as on a busy machine."""
ROOT = Path(__file__).parents[2]
RAY = (sys.executable, "-m", "ray.scripts.scripts")
PLUGIN = "[fld.stages]\nfragile = pipeline.drills.fragile:Fragile\n"
METADATA = "Metadata-Version: 2.1\nName: fld-drill\nVersion: 1.0\n"


@dataclass(slots=True)
class Cluster:
    """The nodes that run; `started` makes one."""

    address: str
    folder: Path
    """For Ray's own files and the switches of the drill."""
    environment: Mapping[str, str]
    """Of every node, and of every `fld` that shall reach the cluster."""
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The head first."""

    @property
    def poison(self) -> Path:
        """The file with the key of the sample that kills a process."""
        return Path(self.environment[POISON])

    def add_node(self) -> None:
        """Start one more node that works, and wait for it."""
        self._start("--address", self.address, "--num-cpus", str(CPUS))

    def kill_node(self) -> None:
        """Kill the newest node with all its processes."""
        _kill(self.nodes.pop())

    def start_head(self) -> None:
        """Start the head, which does no work."""
        host, port = self.address.split(":")
        self._start(
            "--head",
            *("--node-ip-address", host, "--port", port, "--num-cpus", "0"),
            *("--ray-client-server-port", str(free_port())),
            # What only a person or an autoscaler looks at.
            *("--include-dashboard", "false", "--no-monitor"),
            *("--temp-dir", str(self.folder / "ray")),
        )

    def stop(self) -> None:
        """Kill all nodes, the head last."""
        while self.nodes:
            _kill(self.nodes.pop())

    def _start(self, *options: str) -> None:
        """Start a node and wait until the cluster counts it.

        Raises:
            ClusterFailed: it does not start.
        """
        for _ in range(STARTS):
            node = self._begin(*options)
            self.nodes.append(node)
            if self._counts(len(self.nodes), node):
                return
            _kill(self.nodes.pop())
        raise ClusterFailed(f"the nodes of the drill do not start; see {self.folder}/ray.log")

    def _begin(self, *options: str) -> subprocess.Popen[bytes]:
        """A node that begins to start."""
        command = [
            *RAY,
            *("start", "--block", "--disable-usage-stats"),
            *("--object-store-memory", str(OBJECT_STORE_BYTES)),
            *("--dashboard-agent-listen-port", str(free_port())),
            *("--min-worker-port", "0", "--max-worker-port", "0"),
            *("--include-log-monitor", "false"),
            *options,
        ]
        with open(self.folder / "ray.log", "ab") as log:
            return subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _counts(self, count: int, newest: subprocess.Popen[bytes]) -> bool:
        """Whether the cluster counts so many nodes in time, while the newest of them runs."""
        deadline = time.monotonic() + START_SECONDS
        while newest.poll() is None and time.monotonic() < deadline:
            asked = subprocess.run(
                [sys.executable, "-c", COUNTS, self.address, str(count)],
                env=self.environment,
                capture_output=True,
                check=False,
            )
            if asked.returncode == 0:
                return True
        return False


# In a process of its own: a client of the head that cannot reach it ends its process. It asks for
# ten seconds, because it takes seconds to start.
COUNTS = """
import sys, time
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
for _ in range(20):
    nodes = client.get_all_node_info(timeout=5)
    if sum(node.state == 0 for node in nodes.values()) >= int(sys.argv[2]):
        sys.exit(0)
    time.sleep(0.5)
sys.exit(1)
"""


@contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """A cluster that runs while the block does. `folder` must have a short path, for sockets."""
    cluster = Cluster(f"127.0.0.1:{free_port()}", folder, _environment(folder))
    try:
        cluster.start_head()
        for _ in range(NODES):
            cluster.add_node()
        yield cluster
    finally:
        cluster.stop()


def _environment(folder: Path) -> Mapping[str, str]:
    """The environment of the drill: tokens on, and the stage `fragile` known by its name."""
    site = folder / "site"
    info = site / "fld_drill-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(PLUGIN)
    token = folder / "token"
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    inherited = {name: os.environ[name] for name in os.environ if not name.startswith("RAY_")}
    return {
        **inherited,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        # A node that was killed is missed after some five seconds, and not after half a minute.
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "RAY_worker_niceness": "0",
        "PYTHONPATH": os.pathsep.join(_paths([str(site), str(ROOT)], inherited)),
        "OMP_NUM_THREADS": "1",
        POISON: str(folder / "poison.key"),
        **object_store.environment(folder),
    }


def _paths(first: Sequence[str], environment: Mapping[str, str]) -> Sequence[str]:
    """The folders of PYTHONPATH, with some before those that are there already."""
    present = environment.get("PYTHONPATH")
    return [*first, present] if present else first


def _kill(node: subprocess.Popen[bytes]) -> None:
    """Kill a node and every process of its session; some or all may have ended."""
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()
