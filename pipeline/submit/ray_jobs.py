"""`cluster=ray`: a run as a job of Ray Jobs, on a cluster that runs already."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.config.submission import RayJobsConfig
from pipeline.errors import ClusterFailed
from pipeline.execution import tokens
from pipeline.submit.folder import Folder, check_size, pack, read_folder
from pipeline.submit.job import (
    Job,
    local_paths,
    next_attempt,
    replaced,
    settings_text,
    warn_of_paths,
)

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

ANSWER_SECONDS = 5.0
POLL_SECONDS = 1.0
SHOWN = 5
"""How many names a warning has."""
SETTINGS = "fld-job.yaml"
"""The settings of the job, in its current folder."""
# Ray kills a job three seconds after it has asked it to stop, before files are in order.
STOP_SECONDS = "60"
STOPPED, FAILED = 143, 1
# The variables that JobSubmissionClient prefers to the address that it is given.
ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")


@dataclass(frozen=True, slots=True)
class Parcel:
    """Everything that is sent to Ray Jobs, but for the number of the attempt."""

    job: Job
    folder: Folder
    settings: str
    """The YAML of the job's settings."""
    command: str
    warnings: list[str]


def prepare(job: Job, ray: RayJobsConfig) -> Parcel:
    """What is sent, from the files of this machine.

    Files of the folder that settings name are sent, and named relative to it.

    Raises:
        ValueError: there is no such folder, or too much to send.
    """
    root = Path(ray.folder).resolve()
    inside, outside = {}, {}
    for name, text in local_paths(job.values).items():
        path = Path(text)
        if path.is_file() and path.is_relative_to(root):
            relative = path.relative_to(root)
            inside[name] = relative.as_posix()
        else:
            outside[name] = text
    folder = read_folder(root, inside.values())
    check_size(folder, ray.max_mb)
    warnings = warn_of_paths(outside, "the cluster")
    if folder.secrets:
        warnings.append(f"not sent, as their names are those of secrets: {_list(folder.secrets)}")
    return Parcel(
        job=job,
        folder=folder,
        settings=settings_text(replaced(job.values, inside)),
        command=job.command(ray.python, SETTINGS),
        warnings=warnings,
    )


def dry_run_text(parcel: Parcel, ray: RayJobsConfig) -> str:
    """Everything that would be sent."""
    lines = [
        f"job: {parcel.job.name(1)} (the next free number)",
        f"to: {ray.jobs}",
        f"command: {parcel.command}",
        f"folder: {parcel.folder.path}: {len(parcel.folder.files)} files, "
        f"{parcel.folder.size:,} bytes",
    ]
    lines += [f"  {file.size:>12,}  {file.name}" for file in parcel.folder.files]
    return "\n".join([*lines, f"{SETTINGS}:", parcel.settings])


def submit(parcel: Parcel, ray: RayJobsConfig) -> str:
    """Send the job and return its name.

    Raises:
        ClusterFailed: the cluster does not answer or refuses it.
        ValueError: the same run is under way there.
    """
    job = parcel.job
    with client(ray) as jobs:
        present = {str(info.submission_id): info.status for info in jobs.list_jobs()}
        attempt = next_attempt(job.fingerprint, present)
        last = job.name(attempt - 1)
        if attempt > 1 and not present[last].is_terminal():
            raise ValueError(f"{last}: this run is under way; {how_to_go_on(ray, last)}")
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "folder.zip"
            pack(parcel.folder, archive, [(SETTINGS, parcel.settings)])
            return jobs.submit_job(
                entrypoint=parcel.command,
                submission_id=job.name(attempt),
                runtime_env={
                    "working_dir": str(archive),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": STOP_SECONDS},
                },
                metadata={"experiment": job.config.experiment, "work": job.config.work},
            )


def follow(ray: RayJobsConfig, name: str) -> int:
    """Write the log of a job to standard error until it ends; the job's exit code.

    KeyboardInterrupt leaves the job as it is.
    """
    with client(ray) as jobs:
        # The connection may break while the job goes on.
        with suppress(RuntimeError, OSError):
            asyncio.run(_write_log(jobs, name))
        info = jobs.get_job_info(name)
        while not info.status.is_terminal():
            time.sleep(POLL_SECONDS)
            info = jobs.get_job_info(name)
    if info.driver_exit_code is not None:
        return int(info.driver_exit_code)
    if info.status == "SUCCEEDED":
        return 0
    # The job has not come to run, or was killed.
    print(f"fld: {name}: {_one_line(info.message)}", file=sys.stderr)
    return STOPPED if info.status == "STOPPED" else FAILED


def stop(ray: RayJobsConfig, name: str) -> bool:
    """Ask a job to stop and wait until it has; whether it was running."""
    with client(ray) as jobs:
        was_running = jobs.stop_job(name)
        while not jobs.get_job_status(name).is_terminal():
            time.sleep(POLL_SECONDS)
    return was_running


def how_to_go_on(ray: RayJobsConfig, name: str) -> str:
    """The commands that follow and stop a job."""
    command = f"fld submit cluster=ray cluster.ray.jobs={ray.jobs}"
    return f"follow it with `{command} --follow {name}`, stop it with `{command} --stop {name}`"


@contextmanager
def client(ray: RayJobsConfig) -> Iterator[JobSubmissionClient]:
    """A client of Ray Jobs; what goes wrong in the block is told in one line.

    Raises:
        ClusterFailed: nothing answers, or the cluster refuses the request.
    """
    tokens.send()
    where = f"cluster.ray.jobs={ray.jobs}"
    _check_answers(ray.jobs, where)
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for module in ("dashboard_sdk", "job.sdk"):
        logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)
    for variable in ADDRESSES:
        if os.environ.pop(variable, None):
            logging.getLogger("fld").warning("%s: no effect: %s decides", variable, where)
    try:
        yield JobSubmissionClient(ray.jobs)
    except AuthenticationError:
        raise ClusterFailed(f"{where}: {tokens.advice()}") from None
    except (RuntimeError, ConnectionError) as error:
        # Such as the answer of a server that is no dashboard.
        raise ClusterFailed(f"{where}: {_one_line(error)}") from None


def _one_line(message: object) -> str:
    """A message without line breaks."""
    words = str(message).split()
    return " ".join(words)


def _check_answers(url: str, where: str) -> None:
    """Check that something listens at an address: Ray's client would wait for long.

    Raises:
        ValueError: it is no address.
        ClusterFailed: nothing listens there.
    """
    advice = "give the address of the dashboard of `ray start --head`"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise ValueError(f"{where}: no address; {advice}, such as http://127.0.0.1:8265")
    try:
        socket.create_connection((host, port), ANSWER_SECONDS).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        tunnel = "one on loopback needs `ssh -L 8265:127.0.0.1:8265 HEAD`"
        raise ClusterFailed(
            f"{where}: nothing answers there ({reason}); {advice}; {tunnel}"
        ) from None


async def _write_log(jobs: JobSubmissionClient, name: str) -> None:
    """Write the log of a job to standard error while it grows."""
    async for lines in jobs.tail_job_logs(name):
        sys.stderr.write(lines)
        sys.stderr.flush()


def _list(names: tuple[str, ...]) -> str:
    """The first names, and how many more there are."""
    text = ", ".join(names[:SHOWN])
    if len(names) > SHOWN:
        text += f" and {len(names) - SHOWN} more"
    return text
