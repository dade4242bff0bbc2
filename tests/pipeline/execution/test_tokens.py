"""Where the token of a cluster is found, who may read one that is made, and what is missing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pipeline.execution import tokens

HEAD = "the head's token (`ray get-auth-token` on the head prints it)"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a token, and an environment that names none."""
    for variable in (tokens.MODE, tokens.TOKEN, tokens.TOKEN_PATH):
        # `setenv` first, so that what a test sets is taken back even where it was not set before.
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    # Ray would read its settings again.
    monkeypatch.delitem(tokens.sys.modules, "ray", raising=False)
    return tmp_path


def test_a_token_is_found_in_the_order_of_ray(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokens.place() is None
    file = home / ".ray/auth_token"
    file.parent.mkdir()
    file.write_text("abc")
    assert tokens.place() == str(file)
    monkeypatch.setenv(tokens.TOKEN_PATH, str(home / "missing"))
    assert tokens.place() is None
    other = home / "other"
    other.write_text("def\n")
    monkeypatch.setenv(tokens.TOKEN_PATH, str(other))
    assert tokens.place() == f"RAY_AUTH_TOKEN_PATH={other}"
    monkeypatch.setenv(tokens.TOKEN, "ghi")
    assert tokens.place() == "RAY_AUTH_TOKEN"


def test_a_token_is_sent_if_there_is_one_and_the_environment_does_not_forbid_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens.send()
    assert tokens.MODE not in os.environ
    monkeypatch.setenv(tokens.TOKEN, "abc")
    monkeypatch.setenv(tokens.MODE, "disabled")
    tokens.send()
    assert os.environ[tokens.MODE] == "disabled"
    del os.environ[tokens.MODE]
    tokens.send()
    assert os.environ[tokens.MODE] == "token"


def test_a_token_that_is_made_can_be_read_by_the_user_alone_and_stays(home: Path) -> None:
    tokens.make()
    file = home / ".ray/auth_token"
    token = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(token)) == 32
    tokens.make()
    assert file.read_text() == token


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {},
            "the cluster asks for a token, and there is none; put {HEAD} into RAY_AUTH_TOKEN, a "
            "file named by RAY_AUTH_TOKEN_PATH, or {home}/.ray/auth_token",
        ),
        (
            {"RAY_AUTH_TOKEN_PATH": "/missing"},
            "the cluster asks for a token, and RAY_AUTH_TOKEN_PATH=/missing holds none; put {HEAD} "
            "there",
        ),
        (
            {"RAY_AUTH_TOKEN": "abc"},
            "the cluster refuses the token in RAY_AUTH_TOKEN; put {HEAD} there",
        ),
        (
            {"RAY_AUTH_TOKEN": "abc", "RAY_AUTH_MODE": "disabled"},
            "the cluster asks for a token; RAY_AUTH_MODE=disabled sends none; unset it",
        ),
    ],
)
def test_what_is_missing_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tokens.advice() == told.format(HEAD=HEAD, home=home)
