"""A client of an OpenAI-compatible endpoint: asks nothing twice, and keeps to a token budget.

The `openai` package makes the requests. Around it are a cache of answers, a budget and repeated
attempts. Every answer is stored on disk under the hash of its request, so a killed run asks nothing
twice. Attempts are repeated here and not by `openai`, which waits 8 seconds at most: a server that
is restarted may need minutes.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast

from stages.base import NOT_RECIPE, Failed, StageError, no_effect
from stages.specialists.completion import Completion, Request
from stages.specialists.detailed_texts import Answer
from stages.specialists.token_budget import TokenBudget, cannot_write, most_tokens

if TYPE_CHECKING:
    from openai import APIStatusError
    from openai.types.chat import (
        ChatCompletion,
        ChatCompletionContentPartParam,
    )

BUDGET_SPENT = "budget_spent"
ENDPOINT_FAILED = "endpoint_failed"
LONGEST_WAIT = 60.0  # seconds between two attempts, unless the server asks for more
# Statuses that are the same for every request: wrong key, no credit, no access, no such model or
# path.
ACCOUNT_STATUSES = (401, 402, 403, 404)
OUT_OF_QUOTA = "insufficient_quota"  # code of a 429 that does not pass by itself
# Statuses below 500 that pass: the request took too long, was in conflict, or came too soon.
PASSING_STATUSES = (408, 409, 429)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """Settings of a client of an OpenAI-compatible endpoint."""

    endpoint: str
    """Base URL of the server, such as http://127.0.0.1:8000/v1."""

    model: str
    """Name of the model on the server."""

    max_tokens: int = 400
    """Longest answer, in tokens."""

    image_side: int = 768
    """Larger images are shrunk until their longer side has this many pixels."""

    key_variable: str = field(default="OPENAI_API_KEY", metadata=NOT_RECIPE)
    """Environment variable with the API key; it may be unset for a server that asks for none."""

    cache: str = field(default="", metadata=NOT_RECIPE)
    """Folder of the stored answers; empty: none are stored."""

    token_budget: int = field(default=0, metadata=NOT_RECIPE)
    """Most tokens that prompts and answers may use together; 0: no limit."""

    concurrency: int = field(default=8, metadata=NOT_RECIPE)
    """Number of requests at a time."""

    attempts: int = field(default=8, metadata=NOT_RECIPE)
    """Number of attempts before a sample fails."""

    timeout: float = field(default=120.0, metadata=NOT_RECIPE)
    """Seconds without a byte from the server after which an attempt has failed."""

    backoff: float = field(default=1.0, metadata=NOT_RECIPE)
    """Seconds before the second attempt; the wait is doubled with each further attempt."""

    def without_effect(self) -> Iterator[str]:
        if self.attempts <= 1:
            reason = "there is no second attempt; raise attempts"
            yield from no_effect(self, ("backoff",), reason)


class ChatClient:
    """Asks one question per call, with the settings of `EndpointConfig`. Safe for threads."""

    def __init__(self, config: EndpointConfig) -> None:
        """Connects to nothing yet.

        Raises StageError if the endpoint is no URL, or if the cache folder cannot be made.
        """
        import openai

        if not config.endpoint.startswith(("http://", "https://")):
            raise StageError(
                f"endpoint={config.endpoint}: give a URL such as http://127.0.0.1:8000/v1"
            )
        self.config = config
        self.folder = _cache_folder(config.cache)
        self.budget = TokenBudget(config.token_budget, self.folder)
        key = os.environ.get(config.key_variable)
        self._openai = openai.OpenAI(
            api_key=key or "none",
            base_url=config.endpoint,
            timeout=config.timeout,
            max_retries=0,
        )
        # The package insists on a key, so without one its header has to be left out.
        self._headers = {} if key else {"Authorization": openai.Omit()}
        self._lock = Lock()
        self._request_locks: dict[str, Lock] = {}

    def ask(self, content: Sequence[ChatCompletionContentPartParam]) -> Answer | Failed:
        """The answer to one message of texts and images, or the reason why there is none.

        Raises StageError for a fault that would repeat with every request, such as a wrong API key.
        """
        request = self.request(content)
        body = json.dumps(request, sort_keys=True).encode()
        name = hashlib.sha256(body).hexdigest()
        with self._request_lock(name):
            file = self.folder / f"{name}.json" if self.folder else None
            if file and file.is_file():
                return _answer(json.loads(file.read_text()))
            completion = self._ask_within_budget(request)
            if isinstance(completion, Failed):
                return completion
            if file:
                _write(file, completion)
            return _answer(completion)

    def request(self, content: Sequence[ChatCompletionContentPartParam]) -> Request:
        """The parameters of a chat completion; their JSON is the key of the cache."""
        return {
            "model": self.config.model,
            "messages": [{"role": "user", "content": list(content)}],
            "max_tokens": self.config.max_tokens,
            "temperature": 0,
            "seed": 0,
        }

    def _request_lock(self, name: str) -> Lock:
        """The lock of a request: of two equal ones, the second finds the first one's answer."""
        with self._lock:
            return self._request_locks.setdefault(name, Lock())

    def _ask_within_budget(self, request: Request) -> Completion | Failed:
        """The completion, if the budget allows the request; counts what it uses."""
        most = self._most_tokens(request)
        if not self.budget.reserve(most):
            detail = (
                f"{self.budget.used} of {self.config.token_budget} tokens are spent, "
                f"this may take {most}"
            )
            return Failed(BUDGET_SPENT, detail)
        used = 0
        try:
            completion = self._attempt_repeatedly(request)
            if not isinstance(completion, Failed):
                usage = completion.get("usage") or {}
                used = usage.get("total_tokens", most)
        finally:
            self.budget.settle(most, used)
        return completion

    def _most_tokens(self, request: Request) -> int:
        """The most tokens that the request can use, its answer included."""
        content = request["messages"][0]["content"]
        assert not isinstance(content, str), "`request` makes lists of parts"
        texts = []
        image_count = 0
        for part in content:
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                image_count += 1
        return most_tokens(
            texts,
            image_count,
            image_side=self.config.image_side,
            max_tokens=self.config.max_tokens,
        )

    def _attempt_repeatedly(self, request: Request) -> Completion | Failed:
        """The completion; tries again after a fault that may pass."""
        import openai

        fault = ""
        wait = 0.0
        for attempt in range(self.config.attempts):
            time.sleep(wait)
            wait = min(LONGEST_WAIT, self.config.backoff * 2**attempt)
            try:
                completion = self._openai.chat.completions.create(
                    **request,
                    extra_headers=self._headers,
                )
            except openai.APIStatusError as error:
                fault = _status_of(error)
                if self._is_account_fault(error):
                    raise self._account_error(error) from error
                if error.status_code < 500 and error.status_code not in PASSING_STATUSES:
                    break
                wait = max(wait, _retry_after(error))
            except openai.APIConnectionError as error:
                # The cause says more, such as "Connection refused".
                fault = str(error.__cause__ or error)
            except json.JSONDecodeError as error:
                fault = f"the answer is no JSON: {error}"
            else:
                if _has_choice(completion):
                    return cast("Completion", completion.to_dict(mode="json"))
                fault = "the answer is no chat completion"
        return Failed(ENDPOINT_FAILED, fault)

    def _is_account_fault(self, error: APIStatusError) -> bool:
        """Whether every other request would fail in the same way."""
        return error.status_code in ACCOUNT_STATUSES or error.code == OUT_OF_QUOTA

    def _account_error(self, error: APIStatusError) -> StageError:
        """The error that says which setting to change."""
        config = self.config
        if error.status_code == 404:
            advice = f"set model (now {config.model}) and endpoint to what the server offers"
        elif error.status_code == 402 or error.code == OUT_OF_QUOTA:
            advice = (
                f"the account of the key in {config.key_variable} has no credit left: top it up"
            )
        else:
            advice = f"set {config.key_variable} to a key that may use the model {config.model}"
        return StageError(f"{config.endpoint} answers {_status_of(error)}: {advice}")


def _cache_folder(cache: str) -> Path | None:
    """The folder of stored answers, made if it is missing; None if nothing is stored."""
    if not cache:
        return None
    folder = Path(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def _write(file: Path, completion: Completion) -> None:
    """Stores a completion; another process sees the whole file or none."""
    part = file.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
    try:
        part.write_text(json.dumps(completion))
        part.replace(file)
    except OSError as error:
        raise cannot_write(file, error) from error


def _answer(completion: Completion) -> Answer:
    """The first choice of a completion."""
    choice = completion["choices"][0]
    message = choice["message"]
    return Answer(
        content=message.get("content") or "",
        finish_reason=choice.get("finish_reason"),
        refusal=message.get("refusal"),
    )


def _has_choice(completion: ChatCompletion) -> bool:
    """Whether the server sent a chat completion; `openai` does not check that."""
    from openai.types.chat import ChatCompletion

    return isinstance(completion, ChatCompletion) and bool(completion.choices)


def _status_of(error: APIStatusError) -> str:
    """Status and reason, such as '404 Not Found'."""
    return f"{error.status_code} {error.response.reason_phrase}"


def _retry_after(error: APIStatusError) -> float:
    """Seconds that the server asks to wait; 0 if it gives none, or a date."""
    header = error.response.headers.get("Retry-After", "")
    return float(header) if header.isdecimal() else 0.0
