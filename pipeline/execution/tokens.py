"""The token of a Ray cluster: where Ray keeps it, and a client that sends it without being told.

Ray 2.60 asks every client of a cluster for a token once one exists on its head. A client sends its
token only under RAY_AUTH_MODE=token; for an explicit address Ray does not look for one by itself.
A cluster without tokens ignores the token of a client.

Source: https://docs.ray.io/en/latest/ray-security/token-auth.html
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Any

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
TOKEN_BYTES = 32
PRIVATE = stat.S_IRUSR | stat.S_IWUSR
HEAD_TOKEN = "the head's token (`ray get-auth-token` on the head prints it)"


def default_file() -> Path:
    """Where Ray keeps the token of a user."""
    return Path.home() / ".ray" / "auth_token"


def place() -> str | None:
    """Where the token of this process stands, in Ray's order; None if there is none.

    A variable that names a missing file hides the default file, as it does in Ray.
    """
    if os.environ.get(TOKEN):
        return TOKEN
    path = os.environ.get(TOKEN_PATH)
    if path:
        return f"{TOKEN_PATH}={path}" if _is_token(Path(path)) else None
    return str(default_file()) if _is_token(default_file()) else None


def send() -> None:
    """Let Ray send the token, if there is one and RAY_AUTH_MODE does not say otherwise."""
    if os.environ.get(MODE) or place() is None:
        return
    os.environ[MODE] = "token"
    if "ray" in sys.modules:
        # Ray has read the environment at its import.
        raylet().Config.initialize("")


def raylet() -> Any:
    """Ray's module in Cython, which has no types."""
    return importlib.import_module("ray._raylet")


def make() -> None:
    """Make the user's token where there is none yet, readable by the user alone.

    Ray makes one by itself when it starts on this machine, but with the rights of any new file.
    """
    if place() is not None or os.environ.get(TOKEN_PATH) or os.environ.get(MODE) == "disabled":
        return
    path = default_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(path, secrets.token_hex(TOKEN_BYTES))
    except OSError as error:
        # Ray says what it needs when it starts.
        logging.getLogger("fld").debug("no token: %s", error)


def write(path: Path, token: str) -> None:
    """Write a token into a file of its own that only the user can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with open(descriptor, "w") as file:
        file.write(token)


def advice() -> str:
    """What to do when a cluster has refused this process, in one line."""
    if os.environ.get(MODE, "token").lower() != "token":
        mode = os.environ[MODE]
        return f"the cluster asks for a token; {MODE}={mode} sends none; unset it"
    where = place()
    if where is not None:
        return f"the cluster refuses the token in {where}; put {HEAD_TOKEN} there"
    path = os.environ.get(TOKEN_PATH)
    if path:
        missing = f"the cluster asks for a token, and {TOKEN_PATH}={path} holds none"
        return f"{missing}; put {HEAD_TOKEN} there"
    return (
        f"the cluster asks for a token, and there is none; put {HEAD_TOKEN} into {TOKEN}, a file "
        f"named by {TOKEN_PATH}, or {default_file()}"
    )


def is_refusal(message: str) -> bool:
    """Whether a message of Ray says that a token is missing or wrong."""
    return "InvalidAuthToken" in message or "no authentication token was found" in message


def _is_token(path: Path) -> bool:
    try:
        return bool(path.read_text().strip())
    except (OSError, UnicodeDecodeError):
        return False
