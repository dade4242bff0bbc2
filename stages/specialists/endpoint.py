"""A client of an OpenAI-compatible endpoint: concurrent, patient, asks nothing twice, and never spends more than its
budget.

Answers are kept on disk by the hash of their request, so that a killed run asks nothing twice; what they cost stands in
a ledger beside them, which counts towards the budget also after a restart and in every process that shares the folder.
A request goes out only if the most that it can cost is left; requests in flight are waited for before one is refused.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Lock
from typing import Any

from stages.base import NOT_RECIPE, Failed

BUDGET_SPENT = "budget_spent"
ENDPOINT_FAILED = "endpoint_failed"
LONGEST_WAIT = 60.0  # seconds between two attempts
OVERHEAD = 64  # tokens of a chat template around a message, more than any in use


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    endpoint: str  # such as http://127.0.0.1:8000/v1
    model: str
    max_tokens: int = 400
    image_side: int = 768  # larger images are shrunk
    key_variable: str = field(
        default="OPENAI_API_KEY", metadata=NOT_RECIPE
    )  # environment variable, may be unset
    cache: str = field(
        default="", metadata=NOT_RECIPE
    )  # folder of the answers; empty: none are kept
    token_budget: int = field(default=0, metadata=NOT_RECIPE)  # of prompts and answers; 0: none
    concurrency: int = field(default=8, metadata=NOT_RECIPE)
    attempts: int = field(default=8, metadata=NOT_RECIPE)
    timeout: float = field(default=120.0, metadata=NOT_RECIPE)  # seconds
    backoff: float = field(
        default=1.0, metadata=NOT_RECIPE
    )  # seconds before the second attempt; then doubled


class Client:
    def __init__(self, config: EndpointConfig) -> None:
        self.config, self.budget = config, Budget(config)
        self.folder = Path(config.cache) if config.cache else None
        self.lock, self.asking = Lock(), dict[str, Lock]()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | Failed:
        """The reply to a chat request, or why there is none."""
        body = json.dumps(request, sort_keys=True).encode()
        name = hashlib.sha256(body).hexdigest()
        with self._alone(name):
            file = self.folder / f"{name}.json" if self.folder else None
            if file and file.is_file():
                known: dict[str, Any] = json.loads(file.read_text())
                return known
            most = most_tokens(request, self.config)
            if not self.budget.reserve(most):
                told = f"{self.budget.spent} of {self.config.token_budget} tokens are spent, this may take {most}"
                return Failed(BUDGET_SPENT, told)
            took = 0
            try:
                reply = self._post(body)
                if not isinstance(reply, Failed):
                    took = reply.get("usage", {}).get("total_tokens", most)
            finally:
                self.budget.settle(most, took)
            if file and not isinstance(reply, Failed):
                part = file.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
                part.write_text(json.dumps(reply))
                part.replace(file)
            return reply

    def _alone(self, name: str) -> AbstractContextManager[Any]:
        """One request is asked once at a time: its twin waits, and finds the answer."""
        with self.lock:
            return self.asking.setdefault(name, Lock())

    def _post(self, body: bytes) -> dict[str, Any] | Failed:
        """The reply, trying again after what may pass: no connection, too many requests, a server's fault."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.config.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        url, detail, wait = self.config.endpoint.rstrip("/") + "/chat/completions", "", 0.0
        for attempt in range(self.config.attempts):
            if attempt:
                time.sleep(max(wait, min(LONGEST_WAIT, self.config.backoff * 2 ** (attempt - 1))))
            try:
                request = urllib.request.Request(url, body, headers)
                with urllib.request.urlopen(request, timeout=self.config.timeout) as reply:
                    answer: dict[str, Any] = json.load(reply)
                    return answer
            except urllib.error.HTTPError as error:
                detail, wait = (
                    f"{error.code} {error.reason}",
                    asked_wait(error.headers.get("Retry-After")),
                )
                if error.code in (401, 403, 404):
                    advice = f"check endpoint, model and {self.config.key_variable}"
                    raise ValueError(f"{url} answers {detail}: {advice}") from error
                if error.code not in (408, 409, 429) and error.code < 500:
                    break
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                detail = str(error)
        return Failed(ENDPOINT_FAILED, detail)


class Budget:
    """Tokens spent, by the ledger, and reserved for requests in flight."""

    def __init__(self, config: EndpointConfig) -> None:
        self.limit, self.spent, self.reserved, self.read = config.token_budget, 0, 0, 0
        self.changed = Condition()
        self.ledger: Path | None = None
        if config.cache:
            Path(config.cache).mkdir(parents=True, exist_ok=True)
            self.ledger = Path(config.cache) / "spent.txt"

    def reserve(self, most: int) -> bool:
        """Whether a request that takes at most so many tokens may go out; waits for others to come back."""
        with self.changed:
            while True:
                self._look()
                if not self.limit or self.spent + self.reserved + most <= self.limit:
                    self.reserved += most
                    return True
                if not self.reserved:
                    return False
                self.changed.wait()

    def settle(self, most: int, took: int) -> None:
        with self.changed:
            self.reserved -= most
            if self.ledger is None:
                self.spent += took
            elif took:
                with self.ledger.open("ab", buffering=0) as file:
                    file.write(
                        b"%d\n" % took
                    )  # one short append: lines of several processes do not mix
            self.changed.notify_all()

    def _look(self) -> None:
        """Count what the ledger has got since, from any process."""
        if self.ledger and self.ledger.exists():
            with self.ledger.open("rb") as file:
                file.seek(self.read)
                lines = file.read()
            self.read += len(lines)
            self.spent += sum(int(line) for line in lines.split())


def most_tokens(request: Mapping[str, Any], config: EndpointConfig) -> int:
    """The most that a request can cost: a token of text is at least a byte, one of an image at least 14 x 14 pixels."""
    parts = [part for message in request["messages"] for part in message["content"]]
    text = sum(len(part["text"].encode()) for part in parts if part["type"] == "text")
    images = sum(part["type"] == "image_url" for part in parts)
    return (
        text
        + images * -(-(config.image_side**2) // 196)
        + config.max_tokens
        + OVERHEAD * (1 + images)
    )


def asked_wait(header: str | None) -> float:
    """Seconds that a server asks for; those that name a date are left to the backoff."""
    return float(header) if header and header.isdecimal() else 0.0
