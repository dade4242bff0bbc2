"""The JSON of the chat completions of an OpenAI-compatible endpoint, as far as we read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionUserMessageParam


class Message(TypedDict, total=False):
    """The answer of a choice."""

    content: str | None
    refusal: str | None


class Choice(TypedDict):
    """One of the answers of a completion."""

    message: Message
    finish_reason: NotRequired[str | None]


class Usage(TypedDict, total=False):
    """What a request has cost."""

    total_tokens: int


class Completion(TypedDict):
    """The JSON of a chat completion, as the server sent it: the fields that are read here."""

    choices: list[Choice]
    usage: NotRequired[Usage | None]


class Request(TypedDict):
    """The parameters of a chat completion."""

    model: str
    messages: list[ChatCompletionUserMessageParam]
    max_tokens: int
    temperature: float
    seed: int
