"""Which cluster is joined, what is said in seconds where none answers, and what Ray may print."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import ClusterFailed
from pipeline.execution import cluster

# A gRPC server says first of all which HTTP/2 settings it has: RFC 9113, section 3.4.
GRPC_HELLO = bytes.fromhex("000000040000000000")


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """The address of a server that answers everything with the same bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def closed_address() -> str:
    """An address of this machine where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_nothing_answers_is_told_at_once(scheme: str) -> None:
    address = scheme + closed_address()
    began = time.monotonic()
    with pytest.raises(ClusterFailed) as told:
        cluster.check_answers(address)
    assert time.monotonic() - began < 3
    assert str(told.value) == (
        f"cluster.address={address}: nothing answers there (Connection refused); "
        "give the address of `ray start --head`, or null to start Ray on this machine"
    )


def test_the_address_in_the_environment_counts_for_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    address = closed_address()
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ClusterFailed, match=rf"address=auto \(RAY_ADDRESS={address}\): nothing"):
        cluster.check_answers("auto")


def test_another_server_than_one_of_ray_is_told_and_one_of_ray_is_not() -> None:
    for answer in (b"HTTP/1.0 400 Bad Request\r\n\r\n", b""):
        with server(answer) as address, pytest.raises(ClusterFailed, match="there is no Ray; give"):
            cluster.check_answers(address)
    with server(GRPC_HELLO) as address:
        cluster.check_answers(address)


@pytest.mark.parametrize("address", ["auto", "local", "k8s://cluster", "bad:address:x", "host"])
def test_an_address_without_host_and_port_is_left_to_ray(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    cluster.check_answers(address)


# `fld status --json` stands for any command with `--json` that starts Ray and loses a worker.
WORKER_DIES = """
import os, signal, sys, time
from pipeline import cli
from pipeline.commands import look
from pipeline.commands.group import Output
from pipeline.config.run import ClusterConfig
from pipeline.execution.cluster import connect

def die():
    os.kill(os.getpid(), signal.SIGSEGV)

def status(args):
    connect(ClusterConfig())
    import ray
    os.system("echo a child talks")
    try:
        ray.get(ray.remote(max_retries=1)(die).remote())
    except ray.exceptions.RayError:
        time.sleep(2)
    return Output(value={"cpus": ray.cluster_resources()["CPU"]})

look.status = status
sys.exit(cli.main(["status", "work", "--json"]))
"""


def test_a_machine_that_is_too_busy_for_ray_is_told() -> None:
    # The message of ray._private.node.
    late = Exception(
        "The current node timed out during startup. This could happen because some of the raylet"
        " failed to startup or the GCS has become overloaded."
    )
    assert cluster._reason(late, io.StringIO()) == (
        "Ray did not start within 30 seconds, so this machine has too much other work; the same "
        "command tries again"
    )


@pytest.mark.ray
def test_ray_starts_here_whatever_the_environment_says_and_only_the_answer_is_printed() -> None:
    address = closed_address()
    root = str(Path(cluster.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", WORKER_DIES],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "", "PYTHONPATH": root, "RAY_ADDRESS": address},
    )
    assert done.stdout.startswith("{"), done.stderr
    assert json.loads(done.stdout)["cpus"] >= 1
    assert "(raylet)" in done.stderr and "A worker died or was killed" in done.stderr
    assert f"RAY_ADDRESS={address}: no effect: cluster.address=null starts Ray" in done.stderr
