"""Programs of a cluster, such as sbatch and kubectl."""

from __future__ import annotations

import subprocess

from pipeline.errors import ClusterFailed


def answer(command: list[str], given: str = "") -> str:
    """What a program writes to standard output; `given` is its standard input.

    Raises:
        ClusterFailed: it is not installed, or it fails; the message has its last line.
    """
    program = command[0]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True)
    except FileNotFoundError:
        advice = "submit from a machine of the cluster, or see --dry-run for what would be sent"
        raise ClusterFailed(f"{program}: not installed here; {advice}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        # Some programs begin their messages with their name.
        reason = reason.removeprefix(f"{program}: ")
        raise ClusterFailed(f"{program}: {reason}")
    return done.stdout.strip()
