"""The batch script: what Slurm is asked for, and what bash reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.config.compose import load
from pipeline.config.parse import parse
from pipeline.config.submission import SlurmConfig
from pipeline.errors import ClusterFailed
from pipeline.submit import slurm
from tests.pipeline.submit.jobs import job

ONE = SlurmConfig(folder="/shared/jobs")
MANY = SlurmConfig(
    folder="/shared/my jobs",
    nodes=3,
    cpus=16,
    gpus=4,
    memory_gb=200,
    time="1-00:00:00",
    stop_seconds=90,
    partition="long",
    account="vision",
    options=("--qos=low", "--constraint=a100"),
    setup=("module load cuda", "source /opt/fld/bin/activate"),
    python="uv run python",
    at_once=2,
)


def script(config: SlurmConfig, *words: str) -> str:
    return slurm.script([job("cluster=slurm", *words)], config, 1)


def directives(text: str) -> list[str]:
    """What `#SBATCH` asks for; Slurm reads no directive behind the first command."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH "):
            found.append(line.removeprefix("#SBATCH "))
    return found


def test_slurm_is_asked_for_what_the_settings_say() -> None:
    name = job("cluster=slurm").name(1)
    assert directives(script(ONE)) == [
        f"--job-name={name}",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=8",
        "--time=24:00:00",
        "--requeue",
        "--signal=B:USR1@180",
        "--open-mode=append",
        f"--output=/shared/jobs/{name}-%j.log",
    ]
    assert directives(script(MANY)) == [
        f"--job-name={name}",
        "--nodes=3",
        "--ntasks-per-node=1",
        "--cpus-per-task=16",
        "--gpus-per-node=4",
        "--mem=200G",
        "--time=1-00:00:00",
        "--partition=long",
        "--account=vision",
        "--requeue",
        "--signal=B:USR1@90",
        "--open-mode=append",
        f'--output="/shared/my jobs/{name}-%j.log"',
        "--qos=low",
        "--constraint=a100",
    ]


def test_the_script_starts_workers_on_the_other_nodes_only_if_there_are_any() -> None:
    assert "--exclude=" not in script(ONE)
    lines = script(MANY).splitlines()
    (workers,) = (line for line in lines if "--exclude=" in line)
    assert workers.startswith('start_ray 2 --exclude="$SLURMD_NODENAME" "${ray[@]}" --address=')
    assert lines.index("module load cuda") < lines.index("python=(uv run python)")
    assert 'cluster.address="$ip:$port" cluster.nodes=3 &' in script(MANY)


def test_an_array_has_a_job_for_every_run(tmp_path: Path) -> None:
    jobs = [job("cluster=slurm", f"seed={seed}") for seed in (1, 2, 3)]
    assert "--array=0-2%2" in directives(slurm.script(jobs, MANY, 1))
    assert not any(line.startswith("--array") for line in directives(script(MANY)))


@pytest.mark.subprocess
def test_bash_reads_the_script_and_the_settings_of_each_run(tmp_path: Path) -> None:
    odd = "source.path=/a $HOME `ls` 'b'\\"
    jobs = [job("cluster=slurm", "source=folder", odd), job("cluster=slurm", "seed=2")]
    text = slurm.script(jobs, MANY, 1)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    begin, end = text.index("settings_0()"), text.index('"settings_${')
    for number, sent in enumerate(jobs):
        read = subprocess.run(
            ["bash", "-c", f"{text[begin:end]}\nsettings_{number}"],
            capture_output=True,
            text=True,
            check=True,
        )
        file = tmp_path / "settings.yaml"
        file.write_text(read.stdout)
        assert parse(load(file, [])) == parse(dict(sent.values))


def test_an_actor_that_fits_no_node_is_refused() -> None:
    message = "cluster.groups.train: an actor wants 1 gpus, and cluster.slurm.gpus=0; raise it"
    with pytest.raises(ValueError, match=message):
        script(ONE, "cluster.groups.train={gpus: 1}")
    script(ONE, "cluster.groups.train={gpus: 1}", "refine.rounds=0")
    script(MANY, "cluster.groups.train={gpus: 1}")


@pytest.mark.subprocess
def test_without_slurm_the_job_is_printed_by_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClusterFailed, match="squeue: not installed here; submit from a machine"):
        slurm.submit([job("cluster=slurm")], SlurmConfig(folder=str(tmp_path)))
