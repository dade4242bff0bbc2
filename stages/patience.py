"""Waiting while a remote store does not answer, because it restarts, is overloaded or unreachable.

The libraries below fsspec try again for two seconds or so. A store that is restarted is away for
longer, and a run of days should not end for it.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from stages.errors import StoreSilent

PATIENCE_SECONDS = 300.0
"""How long an answer is waited for."""
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0
PASSING = frozenset(
    {
        errno.EIO,
        errno.EBUSY,
        errno.EAGAIN,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)
"""Error numbers after which another try may succeed. s3fs gives EIO for what it does not know."""
DEFINITE = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
"""What a store says of a file; it would say the same again."""
# HTTP states that say "not now": timeout, too early, too many requests.
NOT_NOW = frozenset({408, 425, 429})
OF_PYTHON = frozenset({"builtins", "fsspec"})
# Parts of the names of errors that the libraries of the stores raise before they ask the store.
OF_SETTINGS = ("Credential", "Param", "Profile", "Region", "Validation", "Auth")

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger("fld")


def patiently(url: str, ask: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The answer of a store; it is asked again, with growing pauses, while there is none.

    Raises:
        StoreSilent: there was no answer in `PATIENCE_SECONDS`.
        OSError: the store has answered, and what was asked for cannot be done.
    """
    begun = time.monotonic()
    wait = FIRST_WAIT_SECONDS
    has_warned = False
    while True:
        try:
            return ask(*args, **kwargs)
        except Exception as error:
            if not is_passing(error):
                raise
            waited = time.monotonic() - begun
            reason = " ".join(str(error).split()) or type(error).__name__
            if waited + wait > PATIENCE_SECONDS:
                raise StoreSilent(
                    f"{url} does not answer, tried for {waited:.0f} s: {reason}; the same command "
                    "goes on once it does"
                ) from error
            if not has_warned:
                log.warning(
                    "%s does not answer: %s; trying for %.0f s", url, reason, PATIENCE_SECONDS
                )
                has_warned = True
        # Workers that have failed together shall not ask together again.
        time.sleep(wait * random.uniform(0.5, 1.0))
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def is_passing(error: Exception) -> bool:
    """Whether another try may succeed: nobody has answered, or not with a word about the file."""
    if isinstance(error.__cause__, Exception) and type(error) is FileNotFoundError:
        # fsspec calls a file of a web server missing, too, if the server did not answer.
        return is_passing(error.__cause__)
    if isinstance(error, DEFINITE):
        return False
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status in NOT_NOW
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError):
        # An error of a network library is an OSError without a number.
        return error.errno in PASSING or (error.errno is None and type(error) is not OSError)
    module = type(error).__module__.partition(".")[0]
    return module not in OF_PYTHON and not any(part in type(error).__name__ for part in OF_SETTINGS)
