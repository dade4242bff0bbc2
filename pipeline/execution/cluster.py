"""Starting Ray on this machine, or joining a cluster. The config decides, not the environment.

`cluster.address=null` always starts Ray here: RAY_ADDRESS, which Ray itself would follow, has no
effect then (a warning says so). With `cluster.address=auto` Ray looks at RAY_ADDRESS first. These
variables of the environment count as Ray and the libraries define them: RAY_AUTH_MODE,
RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, RAY_TMPDIR, RAY_NAMESPACE, RAY_RUNTIME_ENV_HOOK,
CUDA_VISIBLE_DEVICES (the GPUs of a Ray that starts here), HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE.
A worker on another machine has the environment of its own `ray start`, but `cluster.models` sets
its HF_HUB_CACHE. OMP_NUM_THREADS and the like have no
effect: `cluster.groups.NAME.threads` sets them (`pipeline.execution.threads`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO
from urllib.parse import urlsplit

from pipeline.config.run import ClusterConfig
from pipeline.errors import ClusterFailed
from pipeline.execution import tokens
from pipeline.execution.streams import captured_stderr
from pipeline.storage.json_types import Json
from stages.hub import CACHE_VARIABLE

ANSWER_SECONDS = 5.0
# What a client says first, with an empty SETTINGS frame. Source: RFC 9113, sections 3.4 and 6.5.
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
FRAME_TYPE, SETTINGS = 3, 4
# A program that fails where the cluster refuses it.
ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
ADMIT_SECONDS = 30.0
# What Ray says when a process of it has not answered after 30 seconds; Ray has no setting for it.
LATE = "timed out during startup"
# Machines of an allocation start within a minute or two; images of containers take longer.
JOIN_SECONDS = 600.0


def connect(config: ClusterConfig) -> None:
    """Join the cluster of `config.address`, or start Ray on this machine; once per process.

    Raises:
        ClusterFailed: there is no cluster at that address, or Ray cannot run here.
    """
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # By default Ray tells its makers, over the network, what it is used for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = _start_settings(config)
    where = f"cluster.address={config.address or 'null'}"
    with _own_signals(), captured_stderr() as said:
        try:
            check_admits(config.address)
            ray.init(
                **settings,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
        except ClusterFailed:
            raise
        except Exception as error:
            # Ray raises plain exceptions when it does not start in time.
            raise ClusterFailed(f"{where}: {_reason(error, said)}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    _wait_for_nodes(config)


def _start_settings(config: ClusterConfig) -> Json:
    """What `ray.init` gets, after the checks and preparations for it.

    Raises:
        ClusterFailed: there is no cluster at the address of the config.
    """
    if config.address:
        tokens.send()
        check_answers(config.address)
        return {"address": config.address, **worker_environment(config)}
    tokens.make()
    if os.environ.get("RAY_ADDRESS"):
        logging.getLogger("fld").warning(
            "RAY_ADDRESS=%s: no effect: cluster.address=null starts Ray on this machine; "
            "set cluster.address=auto to join that cluster",
            os.environ["RAY_ADDRESS"],
        )
    return {"address": "local", "include_dashboard": False}


def worker_environment(config: ClusterConfig) -> Json:
    """The variables that workers of a cluster get from this run; they do not have those of here."""
    if not config.models:
        return {}
    return {"runtime_env": {"env_vars": {CACHE_VARIABLE: os.path.abspath(config.models)}}}


def check_answers(address: str) -> None:
    """Check in seconds that a Ray cluster may be at an address; Ray itself waits for minutes.

    Raises:
        ClusterFailed: nothing listens there, or what listens is no server of Ray.
    """
    where = f"cluster.address={address}"
    host_and_port = _host_and_port(_named(address))
    if host_and_port is None:
        return
    if address == "auto":
        where += f" (RAY_ADDRESS={_named(address)})"
    advice = "give the address of `ray start --head`, or null to start Ray on this machine"
    try:
        with socket.create_connection(host_and_port, ANSWER_SECONDS) as connection:
            connection.sendall(HTTP2_PREFACE)
            # With TLS the server waits for a handshake first.
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                answer = connection.recv(FRAME_TYPE + 1)
                if len(answer) <= FRAME_TYPE or answer[FRAME_TYPE] != SETTINGS:
                    raise ClusterFailed(f"{where}: what answers there is no Ray; {advice}")
    except OSError as error:
        # A timeout has no error number.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ClusterFailed(f"{where}: nothing answers there ({reason}); {advice}") from None


def check_admits(address: str | None) -> None:
    """Check that the cluster at an address takes the token of this process, or wants none.

    Ray itself tries for 20 seconds and then says only that it failed to connect.

    Raises:
        ClusterFailed: it refuses this process.
    """
    named = _named(address or "")
    host_and_port = _host_and_port(named)
    # Ray Client (ray://) has a server of its own, which answers in a way of its own.
    if host_and_port is None or "://" in named:
        return
    host, port = host_and_port
    # In a process of its own, because Ray's C++ code may end the process without a word.
    command = [sys.executable, "-c", ASK, f"{host}:{port}"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        asked = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ADMIT_SECONDS
        )
        # Any other failure is one for `ray.init` to tell.
        if asked.returncode and tokens.is_refusal(asked.stderr):
            raise ClusterFailed(f"cluster.address={address}: {tokens.advice()}")


def _wait_for_nodes(config: ClusterConfig) -> None:
    """Wait until as many machines as `config.nodes` says have joined the cluster.

    Raises:
        ClusterFailed: they have not joined in time.
    """
    import ray

    deadline = time.monotonic() + JOIN_SECONDS
    while config.nodes is not None:
        joined = sum(node["Alive"] for node in ray.nodes())
        if joined >= config.nodes:
            return
        if time.monotonic() > deadline:
            raise ClusterFailed(
                f"cluster.nodes={config.nodes}: after {JOIN_SECONDS:.0f} seconds only {joined} "
                "machines have joined; see the logs of `ray start` on the others"
            )
        time.sleep(1)


def _named(address: str) -> str:
    """The address itself; that of the environment for `auto`."""
    return os.environ.get("RAY_ADDRESS", "") if address == "auto" else address


def _host_and_port(address: str) -> tuple[str, int] | None:
    """The parts of `host:port` or `ray://host:port`; None if it is something else."""
    if "://" not in address:
        address = f"ray://{address}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme != "ray" or host is None or port is None:
        return None
    return host, port


def _reason(error: Exception, said: IO[str]) -> str:
    """Why Ray does not start, in one line; `said` is what it wrote to standard error."""
    said.seek(0)
    text = f"{error} {said.read()}"
    if tokens.is_refusal(text):
        return tokens.advice()
    if "ray client connection timeout" in text and tokens.place() is None:
        # Ray Client does not say why.
        return f"no connection, as where {tokens.advice()}"
    if LATE in text:
        return (
            "Ray did not start within 30 seconds, so this machine has too much other work; the"
            " same command tries again"
        )
    return f"Ray does not start: {error}"


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this process does at SIGTERM: `ray.init` would put its own handler there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def check_resources(config: ClusterConfig, name: str) -> None:
    """Check that the cluster has room for one actor of a group.

    Raises:
        ValueError: it has not, so Ray would wait for ever.
    """
    import ray

    group = config.group(name)
    resources = ray.cluster_resources()
    for kind, wanted in (("CPU", group.cpus), ("GPU", group.gpus)):
        available = resources.get(kind, 0)
        if wanted > available:
            has = f"the cluster has {available:g}"
            raise ValueError(f"cluster.groups.{name}: an actor wants {wanted:g} {kind}, {has}")
