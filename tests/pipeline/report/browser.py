"""A headless Chromium, driven by the DevTools protocol over a pipe.

The protocol: JSON messages that end with a zero byte, commands on descriptor 3, answers and events
on descriptor 4 (https://chromedevtools.github.io/devtools-protocol).
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from pathlib import Path
from shutil import which
from typing import Any

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
WHY_SKIPPED = "needs chromium, which is no Python package"
_SECONDS = 60


class Browser:
    """One page of a browser, as a context manager. Every event of the page is kept in `events`."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        commands, self._commands = _pipe()
        self._answers, answers = _pipe()
        arguments = [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder / 'profile'}",
        ]
        quiet = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        ends = [(os.POSIX_SPAWN_DUP2, commands, 3), (os.POSIX_SPAWN_DUP2, answers, 4)]
        self._process = os.posix_spawn(
            CHROMIUM, arguments, os.environ, file_actions=[quiet, *ends], setpgroup=0
        )
        os.close(commands)
        os.close(answers)
        self._folder = folder
        self._session: str | None = None
        self._number = 0
        self._received = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._commands)
        os.close(self._answers)

    def open(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self.send("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression in the page."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def download(self, expression: str) -> str:
        """The name of the file that the page saves into the browser's folder by an expression."""
        self.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(self._folder))
        self.evaluate(f"{expression}, null")
        name = self.wait_for("Page.downloadWillBegin")["params"]["suggestedFilename"]
        while self.wait_for("Page.downloadProgress")["params"]["state"] != "completed":
            pass
        return str(name)

    def press(self, key: str) -> None:
        """Press and release a key, by its name in KeyboardEvent."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        codes |= {"Escape": 27, "Enter": 13}
        code = codes.get(key, ord(key[0].upper()))
        more = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        event = {"key": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", **event, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def requests(self) -> list[str]:
        """The addresses that the page has asked for, but for data that it carries itself."""
        events = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in events]
        return [url for url in urls if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        """Errors of scripts, and what the browser logged: refused requests, for example."""
        texts = []
        for event in self.events:
            if event["method"] == "Log.entryAdded":
                texts.append(event["params"]["entry"]["text"])
            if event["method"] == "Runtime.exceptionThrown":
                texts.append(str(event["params"]["exceptionDetails"]))
        return texts

    def wait_for(self, method: str) -> dict[str, Any]:
        """The next event of this kind, also one that came already and was not waited for."""
        while True:
            for event in self.events:
                if event["method"] == method and not event.get("seen"):
                    event["seen"] = True
                    return event
            self.events.append(self._receive())

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """The answer to a command; events that come before it are kept."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            received = self._receive()
            if received.get("id") == self._number:
                assert "error" not in received, received
                return dict(received["result"])
            self.events.append(received)

    def _receive(self) -> dict[str, Any]:
        """The next message of the browser."""
        end = time.monotonic() + _SECONDS
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], end - time.monotonic())
            assert ready, f"no answer of the browser in {_SECONDS} seconds"
            data = os.read(self._answers, 1 << 16)
            assert data, "the browser has ended"
            self._received += data
        message, _, self._received = self._received.partition(b"\0")
        return dict(json.loads(message))


def _pipe() -> tuple[int, int]:
    """The reading and the writing end of a pipe, at numbers that do not collide with 3 and 4."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    reading, writing = ends
    return reading, writing
