"""`cluster=slurm`: a batch script that starts Ray on the allocation and runs the job on it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.submission import SlurmConfig
from pipeline.submit import programs
from pipeline.submit.job import Job, next_attempt, settings_text
from pipeline.submit.resources import check_fits, needs

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a batch job; an array has several."""

    settings: str
    """The YAML of its settings."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job in Slurm's queue."""

    name: str
    number: str
    """Slurm's id of the job."""
    log: str
    """Where its log is, with the id in place."""


def script(jobs: Sequence[Job], slurm: SlurmConfig, attempt: int) -> str:
    """The batch script of a job, or of an array of several.

    Raises:
        ValueError: a node of the allocation has no room for an actor.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    for job in jobs:
        check_fits(needs(job.config), slurm.cpus, slurm.gpus, "cluster.slurm.")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    name = _name(jobs, attempt)
    return environment.get_template("slurm.sh").render(
        name=name,
        slurm=slurm,
        log=_quoted(_log(slurm, name)),
        python=slurm.python,
        folder=shlex.quote(_folder(slurm)),
        runs=[Run(settings_text(job.values).rstrip("\n")) for job in jobs],
        end=f"END_OF_{jobs[0].fingerprint}",
        # The file is a variable of the script, which a quoted word would not be.
        command=jobs[0].command('"${python[@]}"', "FILE").replace("FILE", '"$files.yaml"'),
    )


def submit(jobs: Sequence[Job], slurm: SlurmConfig) -> Submitted:
    """Put a job into Slurm's queue.

    Raises:
        ClusterFailed: Slurm is not there or refuses the job.
        ValueError: the same run is in the queue already.
    """
    queued = programs.answer(["squeue", "--me", "--noheader", "--format=%j"]).splitlines()
    of = jobs[0].fingerprint
    if next_attempt(of, queued) > 1:
        name = _name(jobs, next_attempt(of, queued) - 1)
        raise ValueError(
            f"{name}: this run is in the queue already; `scancel --name={name}` ends it"
        )
    os.makedirs(_folder(slurm), mode=0o700, exist_ok=True)
    done = [file.rpartition("-")[0] for file in os.listdir(_folder(slurm))]
    attempt = next_attempt(of, done)
    number = programs.answer(["sbatch", "--parsable"], script(jobs, slurm, attempt))
    # With several clusters the answer is `ID;CLUSTER`.
    number = number.partition(";")[0]
    name = _name(jobs, attempt)
    return Submitted(name, number, _log(slurm, name).replace("%j", number))


def _quoted(path: str) -> str:
    """A path in a line of `#SBATCH`, which is read by Slurm and not by bash."""
    return f'"{path}"' if " " in path else path


def _name(jobs: Sequence[Job], attempt: int) -> str:
    return jobs[0].name(attempt)


def _folder(slurm: SlurmConfig) -> str:
    return os.path.abspath(slurm.folder)


def _log(slurm: SlurmConfig, name: str) -> str:
    """Where Slurm writes the log of a job; it puts the job's id in place of `%j`."""
    return f"{_folder(slurm)}/{name}-%j.log"
