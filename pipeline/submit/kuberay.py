"""`cluster=kuberay`: a run as a RayJob, which the KubeRay operator gives a cluster of its own.

Three documents: the settings (a ConfigMap) and the RayJob with its head, its CPU workers and, if a
group wants GPUs, its GPU workers. KubeRay makes the token of the cluster and gives it to all pods
(`authOptions`). The pods see secrets as variables; the YAML holds their names only.

The dashboard is a service inside the Kubernetes cluster, because the operator asks it how the job
goes; it is never an ingress, and it wants the token.

Source: https://docs.ray.io/en/latest/cluster/kubernetes/getting-started/rayjob-quick-start.html
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from importlib.metadata import version

import yaml

from pipeline.config.submission import KubeRayConfig, PodConfig
from pipeline.storage.json_types import Json
from pipeline.submit import programs
from pipeline.submit.job import Job, local_paths, next_attempt, settings_text
from pipeline.submit.resources import GroupNeed, check_fits, machines, needs

SETTINGS_FOLDER = "/etc/fld"
SETTINGS = "settings.yaml"
GPU = "nvidia.com/gpu"


def documents(job: Job, kuberay: KubeRayConfig, attempt: int) -> list[Json]:
    """The objects of a job, as `kubectl apply` takes them.

    Raises:
        ValueError: no image is given, an actor fits no pod, or the pods do not see a path.
    """
    if not kuberay.image:
        raise ValueError(
            "cluster.kuberay.image: not set; give a container image with this package and Ray"
        )
    _check_paths(job, kuberay)
    name = job.name(attempt)
    settings: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": kuberay.namespace},
        "data": {SETTINGS: settings_text(job.values)},
    }
    ray_job: Json = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": kuberay.namespace},
        "spec": _spec(job, kuberay, name),
    }
    return [settings, ray_job]


def manifest(job: Job, kuberay: KubeRayConfig, attempt: int) -> str:
    """The YAML of the job's documents."""
    return yaml.safe_dump_all(documents(job, kuberay, attempt), sort_keys=False)


def submit(job: Job, kuberay: KubeRayConfig) -> str:
    """Create the job by kubectl and return its name.

    Raises:
        ClusterFailed: kubectl is not installed, or Kubernetes refuses the job.
    """
    kubectl = ["kubectl", "--namespace", kuberay.namespace]
    names = programs.answer([*kubectl, "get", "rayjobs", "--output=name"]).splitlines()
    attempt = next_attempt(job.fingerprint, [name.rpartition("/")[2] for name in names])
    programs.answer([*kubectl, "create", "--filename=-"], manifest(job, kuberay, attempt))
    return job.name(attempt)


def _spec(job: Job, kuberay: KubeRayConfig, name: str) -> Json:
    return {
        "entrypoint": job.command(kuberay.python, f"{SETTINGS_FOLDER}/{SETTINGS}"),
        "submissionMode": "K8sJobMode",
        # A new attempt is safe: it resumes from what is published, and the lease of the work folder
        # keeps two drivers apart.
        "backoffLimit": kuberay.retries,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": kuberay.keep_seconds,
        "rayClusterSpec": {
            "rayVersion": version("ray"),
            "authOptions": {"mode": "token"},
            "enableInTreeAutoscaling": True,
            "autoscalerOptions": {
                "upscalingMode": "Default",
                "idleTimeoutSeconds": kuberay.idle_seconds,
            },
            "headGroupSpec": {
                "serviceType": "ClusterIP",
                "enableIngress": False,
                # No actor runs in the pod of the head, so that none takes the driver's memory.
                "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
                "template": _pod(kuberay, kuberay.head, "ray-head", settings=name),
            },
            "workerGroupSpecs": list(_workers(job, kuberay)),
        },
    }


def _workers(job: Job, kuberay: KubeRayConfig) -> Iterable[Json]:
    """The groups of worker pods: for stages without a GPU and, if there are any, for those with."""
    found = needs(job.config)
    on_gpus = [need for need in found if need.gpus > 0]
    on_cpus = [need for need in found if need.gpus == 0]
    yield _group("cpu", on_cpus, kuberay.cpu_workers, kuberay)
    if on_gpus:
        yield _group("gpu", on_gpus, kuberay.gpu_workers, kuberay)


def _group(kind: str, found: list[GroupNeed], pods: PodConfig, kuberay: KubeRayConfig) -> Json:
    """One group of worker pods with room for the actors of some groups of stages."""
    check_fits(found, pods.cpus, pods.gpus, f"cluster.kuberay.{kind}_workers.")
    low, high = pods.pods or (1, machines(found, pods.cpus, pods.gpus))
    template = _pod(kuberay, pods, "ray-worker")
    if pods.gpus:
        template["spec"]["tolerations"] = [dict(one) for one in kuberay.tolerations]
        template["spec"]["nodeSelector"] = dict(kuberay.node_selector)
    return {
        "groupName": kind,
        # The job starts when these are there; the autoscaler adds more.
        "replicas": low,
        "minReplicas": low,
        "maxReplicas": max(low, high),
        "rayStartParams": {},
        "template": template,
    }


def _pod(kuberay: KubeRayConfig, pods: PodConfig, container: str, settings: str = "") -> Json:
    """The template of a pod; `settings` is the ConfigMap that it sees, if any."""
    amounts: Json = {"cpu": f"{pods.cpus:g}", "memory": f"{pods.memory_gb:g}Gi"}
    if pods.gpus:
        amounts[GPU] = str(pods.gpus)
    mounts: list[Json] = []
    volumes: list[Json] = []
    for number, (path, claim) in enumerate(kuberay.claims.items()):
        mounts.append({"name": f"claim-{number}", "mountPath": path})
        source = {"persistentVolumeClaim": {"claimName": claim}}
        volumes.append({"name": f"claim-{number}", **source})
    if settings:
        mounts.append({"name": "settings", "mountPath": SETTINGS_FOLDER, "readOnly": True})
        volumes.append({"name": "settings", "configMap": {"name": settings}})
    spec: Json = {
        "containers": [
            {
                "name": container,
                "image": kuberay.image,
                "resources": {"requests": amounts, "limits": dict(amounts)},
                # Ray tells nobody what it is used for.
                "env": [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}],
                "envFrom": [{"secretRef": {"name": secret}} for secret in kuberay.secrets],
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    if kuberay.service_account is not None:
        spec["serviceAccountName"] = kuberay.service_account
    return {"spec": spec}


def _check_paths(job: Job, kuberay: KubeRayConfig) -> None:
    """Check that all pods see the paths of the run.

    Raises:
        ValueError: a path lies in none of the claims, so that it would end with its pod.
    """
    for name, path in local_paths(job.values).items():
        seen = any(_is_below(path, mount) for mount in kuberay.claims)
        if not seen:
            raise ValueError(
                f"{name}={path}: no pod sees this path of this machine; give a URL such as "
                "s3://BUCKET/NAME, or mount a volume there (cluster.kuberay.claims={/data: CLAIM})"
            )


def _is_below(path: str, folder: str) -> bool:
    return posixpath.commonpath([path, folder]) == posixpath.normpath(folder)
