"""`fld submit`: a run on a cluster: Ray Jobs, Kubernetes or Slurm."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from pipeline.commands.configuration import (
    add_configuration,
    add_multirun,
    configuration,
    swept_configurations,
)
from pipeline.commands.group import CommandGroup, Output, add_keep_going

if TYPE_CHECKING:
    from pipeline.config.submission import KubeRayConfig, RayJobsConfig, SlurmConfig
    from pipeline.submit.job import Job

STOPPED = 130


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    command = group.add(
        "submit",
        "`fld run` on a cluster: cluster=ray, kuberay or slurm",
        description="Send a run to a cluster: cluster=ray, kuberay or slurm, and the settings of"
        " `fld run`. Ctrl-C leaves the log of a job and not the job.",
    )
    add_configuration(command)
    add_keep_going(command)
    add_multirun(command, "cluster=slurm: an array with a job for every combination a=1,2 b=x,y")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print all that would be sent")
    what.add_argument("--detach", action="store_true", help="do not follow the log of the job")
    what.add_argument("--follow", metavar="JOB", help="cluster=ray: follow the log of a job")
    what.add_argument("--stop", metavar="JOB", help="cluster=ray: stop a job")
    command.set_defaults(command=submit)


def submit(args: argparse.Namespace) -> Output:
    """Send a run to a cluster, or see after a job there."""
    from pipeline.submit.job import job_of, target

    if args.multirun:
        runs = swept_configurations(args, is_sent=True)
    else:
        runs = [configuration(args, is_sent=True)]
    first = runs[0].config
    where = target(first)
    if args.multirun and where != "slurm":
        raise ValueError(
            "-m: only cluster=slurm takes a sweep; use `fld run -m`, or submit each run"
        )
    if where != "ray" and (args.follow or args.stop):
        raise ValueError(f"--follow, --stop: only for cluster=ray; {_tools(where)}")
    jobs = [job_of(run.values, run.config, args.keep_going) for run in runs]
    cluster = first.cluster
    if cluster.ray is not None:
        return _to_ray(args, jobs[0], cluster.ray)
    if cluster.kuberay is not None:
        return _to_kubernetes(args, jobs[0], cluster.kuberay)
    assert cluster.slurm is not None
    return _to_slurm(args, jobs, cluster.slurm)


def _to_ray(args: argparse.Namespace, job: Job, ray: RayJobsConfig) -> Output:
    from pipeline.submit import ray_jobs

    if args.follow:
        return _followed(ray, args.follow)
    if args.stop:
        was_running = ray_jobs.stop(ray, args.stop)
        return Output(text=f"{args.stop}: {'stopped' if was_running else 'had ended before'}")
    parcel = ray_jobs.prepare(job, ray)
    for warning in parcel.warnings:
        logging.getLogger("fld").warning("%s", warning)
    if args.dry_run:
        return Output(text=ray_jobs.dry_run_text(parcel, ray))
    name = ray_jobs.submit(parcel, ray)
    print(f"fld: {name}: submitted to {ray.jobs}", file=sys.stderr)
    if args.detach:
        return Output(text=f"{name}: {ray_jobs.how_to_go_on(ray, name)}")
    return _followed(ray, name)


def _followed(ray: RayJobsConfig, name: str) -> Output:
    """Follow a job of Ray Jobs; its exit code is that of the command."""
    from pipeline.submit import ray_jobs

    try:
        code = ray_jobs.follow(ray, name)
    except KeyboardInterrupt:
        print(f"fld: {name} goes on; {ray_jobs.how_to_go_on(ray, name)}", file=sys.stderr)
        return Output(exit_code=STOPPED)
    return Output(text=f"{name}: {'done' if code == 0 else f'exit code {code}'}", exit_code=code)


def _to_kubernetes(args: argparse.Namespace, job: Job, kuberay: KubeRayConfig) -> Output:
    from pipeline.submit import kuberay as kubernetes

    if args.dry_run:
        return Output(text=kubernetes.manifest(job, kuberay, 1))
    name = kubernetes.submit(job, kuberay)
    return Output(text=f"{name}: created; {_tools('kuberay', name, kuberay.namespace)}")


def _to_slurm(args: argparse.Namespace, jobs: list[Job], slurm: SlurmConfig) -> Output:
    from pipeline.submit import slurm as batch

    if args.dry_run:
        return Output(text=batch.script(jobs, slurm, 1))
    sent = batch.submit(jobs, slurm)
    text = f"{sent.name}: job {sent.number}, log {sent.log}; {_tools('slurm', sent.number)}"
    return Output(text=text)


def _tools(where: str, name: str = "JOB", namespace: str = "default") -> str:
    """How to see after a job with the tools of the cluster."""
    if where == "slurm":
        return f"`squeue --job {name}` shows it, `scancel {name}` ends it"
    kubectl = f"kubectl --namespace {namespace}"
    return (
        f"`{kubectl} logs --follow job/{name}` shows its log, "
        f"`{kubectl} delete rayjob/{name}` ends it"
    )
