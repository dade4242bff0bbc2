"""An S3-compatible server on loopback that keeps its objects on disk, so that it can be restarted.

The server is nanio (PyPI, Apache-2.0): plain files below a folder, signatures checked, listings in
pages. It knows no conditional writes.
"""

from __future__ import annotations

import importlib.util
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.drills.ports import free_port
from pipeline.errors import RunFailed

BUCKET = "drill"
ENDPOINT, KEY, SECRET = "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
START_SECONDS = 30.0


def missing() -> str:
    """The package that is not installed, "" if the drill can be tried."""
    for package in ("s3fs", "nanio"):
        if importlib.util.find_spec(package) is None:
            return package
    return ""


def environment(folder: Path) -> Mapping[str, str]:
    """What every client of the server needs; the server itself need not run yet."""
    return {
        ENDPOINT: f"http://127.0.0.1:{free_port()}",
        KEY: "drill",
        SECRET: secrets.token_hex(16),
        "AWS_DEFAULT_REGION": "us-east-1",
        "FLD_CACHE": str(folder / "cache"),
    }


class ObjectStore:
    """The server; `running` starts one."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server on what is on disk, and wait until it listens.

        Raises:
            RunFailed: it does not in time.
        """
        (self._folder / BUCKET).mkdir(parents=True, exist_ok=True)
        port = urlsplit(self._environment[ENDPOINT]).port
        command = [sys.executable, "-m", "nanio", "serve", "--no-access-log"]
        command += ["--data-dir", str(self._folder), "--host", "127.0.0.1", "--port", str(port)]
        credentials = {
            "NANIO_ACCESS_KEY": self._environment[KEY],
            "NANIO_SECRET_KEY": self._environment[SECRET],
        }
        self._process = subprocess.Popen(
            command,
            env={**self._environment, **credentials},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            time.sleep(0.1)
        raise RunFailed(f"the object store does not listen on port {port}")

    def kill(self) -> None:
        """End the server in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(folder: Path, environment: Mapping[str, str]) -> Iterator[ObjectStore]:
    """The server while the block runs; its bucket is `BUCKET`."""
    server = ObjectStore(folder, environment)
    try:
        server.start()
        yield server
    finally:
        server.kill()
