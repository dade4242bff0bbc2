"""The settings of `fld submit`: how a run is sent to Ray Jobs, Kubernetes or Slurm.

They say where a run goes and never change its labels, so no recipe and no fingerprint holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RayJobsConfig:
    """A job of Ray Jobs, on a cluster that runs already."""

    jobs: str = "http://127.0.0.1:8265"
    """Address of the cluster's dashboard, which takes jobs. A dashboard that listens on loopback
    only is reached through `ssh -L 8265:127.0.0.1:8265 HEAD`."""
    folder: str = "."
    """Folder that is sent: code, recipes and weights. Left out are files that .gitignore names,
    version control, virtual environments, work folders, and secrets. It is the current folder of
    the job."""
    max_mb: Annotated[int, Field(gt=0, le=500)] = 100
    """Most megabytes of files to send; Ray itself takes at most 500."""
    python: str = "python"
    """Command that starts Python on the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodConfig:
    """The pods of one kind: the resources of each, and how many there are."""

    cpus: PositiveFloat = 4.0
    """CPU cores of a pod."""
    gpus: NotNegative = 0
    """GPUs of a pod (`nvidia.com/gpu`)."""
    memory_gb: PositiveFloat = 16.0
    """Memory of a pod in GiB."""
    pods: tuple[Positive, Positive] | None = None
    """Fewest and most pods. Null: from 1 to as many as the actors of all groups need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeRayConfig:
    """A RayJob for the KubeRay operator, which makes a cluster for the job and removes it."""

    image: str = ""
    """Container image with this package, its dependencies and Ray; must be set."""
    namespace: str = "default"
    """Namespace of the job."""
    python: str = "python"
    """Command that starts Python in the image."""
    head: PodConfig = PodConfig(cpus=2.0, memory_gb=8.0, pods=(1, 1))
    """The pod of Ray's head and of the driver; no stage runs in it, so `gpus` stays 0."""
    cpu_workers: PodConfig = PodConfig()
    """The pods for groups of stages without a GPU."""
    gpu_workers: PodConfig = PodConfig(cpus=8.0, gpus=1, memory_gb=32.0)
    """The pods for groups of stages with a GPU; they exist only if `cluster.groups` has one."""
    claims: dict[str, str] = field(default_factory=dict)
    """Persistent volume claims by the path where every pod sees them, such as
    `{/data: fld-data}`."""
    secrets: tuple[str, ...] = ()
    """Names of Secrets of the namespace. Each of their keys becomes a variable of the environment,
    such as the key of an object store; the values are never in the job's YAML."""
    service_account: str | None = None
    """Service account of the pods; null: that of the namespace."""
    tolerations: tuple[dict[str, str], ...] = ()
    """Tolerations of the GPU pods, as Kubernetes writes them."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels of the nodes that GPU pods run on."""
    idle_seconds: Positive = 300
    """A worker that was idle for so many seconds is removed."""
    retries: NotNegative = 3
    """How often the job starts again on a new cluster after a failure. What is done stays done."""
    keep_seconds: NotNegative = 3600
    """How long the finished job is kept, for its logs and its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmConfig:
    """A batch job of Slurm that starts Ray on all nodes of its allocation."""

    nodes: Positive = 1
    """Nodes of the job."""
    cpus: Positive = 8
    """CPU cores on each node."""
    gpus: NotNegative = 0
    """GPUs on each node."""
    memory_gb: Positive | None = None
    """Memory on each node in GiB; null: what the partition gives."""
    time: str = "24:00:00"
    """Time limit. The job goes back to the queue shortly before it and then goes on."""
    stop_seconds: Annotated[int, Field(ge=10)] = 180
    """How many seconds before the limit, or after a preemption is announced, the run stops. A step
    of training and the files of a shard must fit into that time."""
    partition: str | None = None
    """Partition; null: the default one."""
    account: str | None = None
    """Account that the time is charged to; null: the user's default."""
    options: tuple[str, ...] = ()
    """More options of sbatch, such as `[--qos=low, --constraint=a100]`."""
    folder: str = "submitted"
    """Folder for the job's settings, token and log. All nodes must see it."""
    setup: tuple[str, ...] = ()
    """Lines of bash that each job runs first, such as `[module load cuda]`."""
    python: str = "python"
    """Command that starts Python on the nodes, after `setup`."""
    at_once: Positive = 4
    """Most jobs of an array (`fld submit -m`) that run at the same time."""
