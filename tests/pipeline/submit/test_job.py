"""The identity of a job, its command, and the paths that other machines must see."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.compose import compose, load
from pipeline.config.parse import parse
from pipeline.submit.job import (
    job_of,
    local_paths,
    next_attempt,
    replaced,
    settings_text,
    target,
    warn_of_paths,
)
from tests.pipeline.submit.jobs import job


def test_the_same_run_has_the_same_name_wherever_it_is_sent() -> None:
    on_ray = job("cluster=ray", "cluster.ray.jobs=http://other:1")
    assert on_ray.fingerprint == job("cluster=ray").fingerprint
    assert on_ray.fingerprint == job("cluster=slurm", "cluster.slurm.nodes=3").fingerprint
    assert on_ray.fingerprint != job("cluster=ray", "seed=1").fingerprint
    assert on_ray.name(2) == f"fld-{on_ray.fingerprint}-2"


def test_an_attempt_gets_the_next_number_of_its_run() -> None:
    names = ["fld-ab-1", "fld-ab-10", "fld-cd-30", "fld-ab-x", "other"]
    assert next_attempt("ab", names) == 11
    assert next_attempt("ef", names) == 1


def test_the_command_reads_the_settings_that_are_sent(tmp_path: Path) -> None:
    sent = job("cluster=ray", "seed=7", "source.count=3")
    assert sent.command("uv run python", "a b.yaml", "x=1") == (
        "uv run python -m pipeline.cli run --config 'a b.yaml' x=1"
    )
    file = tmp_path / "settings.yaml"
    file.write_text(settings_text(sent.values))
    config = parse(load(file, []))
    assert config == parse(dict(sent.values))
    assert (config.seed, config.cluster.address, config.cluster.ray) == (7, "auto", None)


def test_a_run_goes_nowhere_without_a_cluster() -> None:
    with pytest.raises(ValueError, match="cluster: nowhere to send the run; give cluster=ray, "):
        target(parse(compose(["cluster=local"])))
    assert target(parse(compose(["cluster=kuberay"]))) == "kuberay"


def test_paths_of_this_machine_are_found_and_urls_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["work=labels", "source=folder", f"source.path={tmp_path}"]
    values = compose(words)
    paths = local_paths(job_of(values, parse(values)).values)
    assert paths == {"work": f"{tmp_path}/labels", "source.path": str(tmp_path)}
    assert warn_of_paths(paths, "the cluster") == [
        f"work={tmp_path}/labels, source.path={tmp_path}: on this machine; every machine of the "
        "cluster must see the same files under this name, as in a file system that they share; "
        "else give a URL such as s3://BUCKET/NAME"
    ]
    assert local_paths(job().values) == {}
    assert warn_of_paths({}, "the cluster") == []


def test_a_path_is_replaced_at_its_place_only() -> None:
    values = {"a": {"b": "/x", "c": ["/x"]}, "b": "/x"}
    assert replaced(values, {"a.b": "y"}) == {"a": {"b": "y", "c": ["/x"]}, "b": "/x"}
