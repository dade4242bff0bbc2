"""A stage that asks a real server on loopback, and its samples."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from stages.base import Sample
from stages.specialists.describe_endpoint import DescribeConfig, EndpointDescribe


class Server:
    """The server of `endpoint.py` in a child process; settings are its options."""

    def __init__(self, **settings: object) -> None:
        script = Path(__file__).with_name("endpoint.py")
        options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        self.process = subprocess.Popen(
            [sys.executable, str(script), *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.requests: list[str] = []
        self.answers: list[int] = []  # the tokens of each
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("answer"):
                self.answers.append(int(line.split()[1]))
            else:
                self.requests.append(line.strip())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def samples(count: int = 4) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        Sample(key=str(i), size=(40, 30), image=rng.integers(0, 256, (30, 40, 3), np.uint8))
        for i in range(count)
    ]


def stage(url: str, **settings: object) -> EndpointDescribe:
    return EndpointDescribe(
        DescribeConfig(endpoint=url, model="tiny", **{"backoff": 0.05, **settings})
    )
