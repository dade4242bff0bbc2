"""A limit for the tokens that requests to an endpoint may use, over all processes and restarts.

The tokens of every answer are added to a ledger, a file in the cache folder with one number per
line. Every process that shares the folder reads it. A request may go out only if the most that it
can use is still left; before a request is refused, those in flight are waited for, because they may
use less than was reserved.
"""

from __future__ import annotations

from pathlib import Path
from threading import Condition

from stages.base import StageError

LEDGER = "spent.txt"
# Pixels per image token. No model in use makes more tokens than one per patch of 14 x 14 pixels.
PIXELS_PER_TOKEN = 196
# Tokens of a chat template around a message or an image; more than any template in use.
TEMPLATE_TOKENS = 64


class TokenBudget:
    """Counts used tokens, and tokens that are reserved for requests in flight. Safe for threads."""

    def __init__(self, limit: int, folder: Path | None) -> None:
        """Counts from the ledger in `folder`, or from 0 without a folder.

        `limit` is a number of tokens; 0 is no limit.
        """
        self.limit = limit
        self.used = 0
        self._reserved = 0
        self._ledger = folder / LEDGER if folder else None
        self._bytes_read = 0
        self._changed = Condition()

    def reserve(self, most: int) -> bool:
        """Whether a request that uses at most `most` tokens may go out.

        Waits for requests in flight before it says no.
        """
        with self._changed:
            while True:
                self._read_ledger()
                if not self.limit or self.used + self._reserved + most <= self.limit:
                    self._reserved += most
                    return True
                if not self._reserved:
                    return False
                self._changed.wait()

    def settle(self, reserved: int, used: int) -> None:
        """Replaces a reservation by the tokens that the request has used (0: it was not answered).

        Raises StageError if the ledger cannot be written.
        """
        with self._changed:
            self._reserved -= reserved
            # Waiting requests must go on, even if the ledger cannot be written.
            self._changed.notify_all()
            if self._ledger is None:
                self.used += used
            elif used:
                self._append(self._ledger, used)

    def _append(self, ledger: Path, used: int) -> None:
        """Adds one line to the ledger."""
        try:
            # One short write in append mode: lines of several processes do not mix.
            with ledger.open("ab", buffering=0) as file:
                file.write(b"%d\n" % used)
        except OSError as error:
            raise cannot_write(ledger, error) from error

    def _read_ledger(self) -> None:
        """Counts what any process has added since the last call."""
        if self._ledger is None or not self._ledger.exists():
            return
        with self._ledger.open("rb") as file:
            file.seek(self._bytes_read)
            lines = file.read()
        self._bytes_read += len(lines)
        self.used += sum(int(line) for line in lines.split())


def cannot_write(path: Path, error: OSError) -> StageError:
    """The error for a file in the cache folder that cannot be written, such as on a full disk."""
    reason = error.strerror or type(error).__name__
    return StageError(
        f"cache={path.parent}: {path.name} cannot be written ({reason}): "
        "free some space, or set `cache` to another folder"
    )


def most_tokens(texts: list[str], image_count: int, image_side: int, max_tokens: int) -> int:
    """The most tokens that a request can use, its answer included.

    A token of text stands for at least one byte. Images are at most `image_side` pixels wide and
    high.
    """
    text_tokens = sum(len(text.encode()) for text in texts)
    # Rounded up.
    tokens_per_image = -(-(image_side**2) // PIXELS_PER_TOKEN)
    template_tokens = TEMPLATE_TOKENS * (1 + image_count)
    return text_tokens + image_count * tokens_per_image + max_tokens + template_tokens
