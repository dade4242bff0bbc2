"""The RayJob: its pods, what they see, and the schema of KubeRay."""

from __future__ import annotations

import copy
import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline.config.compose import load
from pipeline.config.parse import parse
from pipeline.config.submission import KubeRayConfig, PodConfig
from pipeline.errors import ClusterFailed
from pipeline.submit import kuberay
from tests.pipeline.submit.jobs import job

DATA = Path(os.environ.get("FLD_TEST_DATA", Path(__file__).parents[4] / "shared/data"))
# From https://github.com/ray-project/kuberay, helm-chart/kuberay-operator/crds.
CRD = DATA / "kuberay/ray.io_rayjobs.yaml"
GPU_GROUP = "cluster.groups.refine={gpus: 0.5, cpus: 2, actors: [1, 6]}"
FULL = KubeRayConfig(
    image="registry/fld:1",
    namespace="labels",
    claims={"/data": "fld-data", "/weights": "fld-weights"},
    secrets=("object-store", "endpoint"),
    service_account="fld",
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    node_selector={"gpu": "h100"},
)


def ray_job(*words: str, config: KubeRayConfig = FULL) -> dict[str, Any]:
    _, found = kuberay.documents(job("cluster=kuberay", *words), config, 1)
    return dict(found)


def pods(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pod of each group, by name."""
    cluster = document["spec"]["rayClusterSpec"]
    groups = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    templates = {"head": cluster["headGroupSpec"]["template"], **groups}
    return {name: template["spec"] for name, template in templates.items()}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of Kubernetes for a validator of JSON, which refuses what Kubernetes would drop."""
    schema = dict(schema)
    if schema.pop("x-kubernetes-int-or-string", False):
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        schema["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            schema[part] = strict(schema[part])
    return schema


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    if not CRD.exists():
        pytest.skip(f"no definition of the RayJob at {CRD}; FLD_TEST_DATA names its folder")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(CRD.read_text(), Loader=loader)
    (version,) = (one for one in definition["spec"]["versions"] if one["name"] == "v1")
    schema = strict(version["schema"]["openAPIV3Schema"])
    # Kubernetes itself knows these two.
    schema["properties"]["metadata"] = {"type": "object"}
    return Draft202012Validator(schema)


@pytest.mark.parametrize("config", [FULL, KubeRayConfig(image="i")], ids=["full", "plain"])
def test_the_job_is_one_of_kuberay(validator: Draft202012Validator, config: KubeRayConfig) -> None:
    document = ray_job(GPU_GROUP, config=config)
    assert [error.message for error in validator.iter_errors(document)] == []


def test_a_job_with_a_wrong_field_is_none_of_kuberay(validator: Draft202012Validator) -> None:
    document = copy.deepcopy(ray_job())
    document["spec"]["rayClusterSpec"]["headGroupSpec"]["templates"] = {}
    document["spec"]["backoffLimit"] = "3"
    found = sorted(error.message for error in validator.iter_errors(document))
    assert "'3' is not of type 'integer'" in found[0] and "'templates' was unexpected" in found[1]


def test_the_settings_travel_as_a_config_map_that_the_head_sees(tmp_path: Path) -> None:
    settings, document = kuberay.documents(job("cluster=kuberay", "seed=5"), FULL, 2)
    file = tmp_path / "config.yaml"
    file.write_text(settings["data"]["settings.yaml"])
    assert parse(load(file, [])).seed == 5
    name = settings["metadata"]["name"]
    assert document["metadata"] == {"name": name, "namespace": "labels"} and name.endswith("-2")
    head = pods(document)["head"]
    assert {"name": "settings", "configMap": {"name": name}} in head["volumes"]
    assert document["spec"]["entrypoint"].endswith("run --config /etc/fld/settings.yaml")


def test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors() -> None:
    (only,) = ray_job("refine.rounds=0")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert only["groupName"] == "cpu"
    cpu, gpu = ray_job(GPU_GROUP)["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    # Six actors with half a GPU and two cores on pods of one GPU and eight cores.
    assert (gpu["groupName"], gpu["minReplicas"], gpu["maxReplicas"]) == ("gpu", 1, 3)
    # The groups filters, ingest and specialists have 8 actors each, train has one: 25 of 4 a pod.
    assert (cpu["minReplicas"], cpu["maxReplicas"]) == (1, 7)
    found = pods(ray_job(GPU_GROUP))
    assert found["gpu"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert found["gpu"]["tolerations"] == [dict(FULL.tolerations[0])]
    assert found["gpu"]["nodeSelector"] == {"gpu": "h100"}
    assert "tolerations" not in found["cpu"] and "nodeSelector" not in found["head"]


def test_all_pods_see_secrets_by_their_name_only_and_the_claims() -> None:
    for name, pod in pods(ray_job(GPU_GROUP)).items():
        (container,) = pod["containers"]
        references = [{"secretRef": {"name": secret}} for secret in FULL.secrets]
        assert container["envFrom"] == references, name
        assert container["env"] == [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}], name
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts >= {"/data", "/weights"}, name
        assert pod["serviceAccountName"] == "fld"


def test_a_job_starts_again_and_is_removed_when_it_has_ended() -> None:
    config = dataclasses.replace(FULL, retries=5, keep_seconds=60, idle_seconds=120)
    spec = ray_job(config=config)["spec"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (5, 60)
    assert spec["shutdownAfterJobFinishes"] is True
    cluster = spec["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["idleTimeoutSeconds"] == 120


def test_the_cluster_has_a_token_and_no_way_in_from_outside() -> None:
    cluster = ray_job()["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["headGroupSpec"]["enableIngress"] is False


def test_what_no_pod_can_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cluster.kuberay.image: not set; give a container image"):
        ray_job(config=KubeRayConfig())
    local = [f"work={tmp_path}/labels"]
    with pytest.raises(ValueError, match=f"work={tmp_path}/labels: no pod sees this path"):
        ray_job(*local)
    ray_job(*local, config=KubeRayConfig(image="i", claims={str(tmp_path): "claim"}))
    beside = KubeRayConfig(image="i", claims={f"{tmp_path}/lab": "claim"})
    with pytest.raises(ValueError, match="no pod sees this path"):
        ray_job(*local, config=beside)
    small = KubeRayConfig(image="i", gpu_workers=PodConfig(cpus=1, gpus=1))
    message = "cluster.groups.refine: an actor wants 2 cpus, and cluster.kuberay.gpu_workers.cpus=1"
    with pytest.raises(ValueError, match=message):
        ray_job(GPU_GROUP, config=small)


@pytest.mark.subprocess
def test_without_kubectl_the_job_is_printed_by_a_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClusterFailed, match="kubectl: not installed here; submit from a machine"):
        kuberay.submit(job("cluster=kuberay"), FULL)
