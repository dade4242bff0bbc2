"""Runs on real clusters: Ray Jobs on a head with a token, and a Slurm of two nodes here."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.conftest import SMALL, fld, published

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Head:
    """A head of Ray on loopback, which asks for a token."""

    address: str
    jobs: str
    """The address of its dashboard."""
    home: Path
    """The home folder of a user who has the token."""

    def fld(self, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as a user with this home folder."""
        return fld(*words, env={"HOME": str(home or self.home)})

    def submit(self, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        settings = [f"cluster.ray.jobs={self.jobs}", f"cluster.ray.python={sys.executable}"]
        return self.fld("submit", "cluster=ray", *settings, *words, home=home)


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    home = tmp_path_factory.mktemp("home")
    made = [sys.executable, "-c", "from pipeline.execution.tokens import make; make()"]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
    subprocess.run(made, check=True, env=environment)
    port, dashboard, client, agent = free_ports(4)
    # The paths of Ray's sockets may have 107 characters.
    files = tempfile.mkdtemp(prefix="fld-")
    words = ["--head", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2", "--block"]
    words += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    words += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    words += [f"--temp-dir={files}", "--disable-usage-stats"]
    # The addresses of the tests would send every job to a place that is none.
    for variable in ("RAY_ADDRESS", "RAY_TMPDIR", "RAY_AUTH_MODE"):
        environment.pop(variable, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found = Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", home)
    try:
        wait_for(found.jobs, process)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(files, ignore_errors=True)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a dashboard answers."""
    for _ in range(120):
        assert process.poll() is None, "Ray's head has ended"
        try:
            urllib.request.urlopen(f"{url}/api/version", timeout=5)
        except urllib.error.HTTPError as refusal:
            assert refusal.code == 401
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail("no dashboard answers")


@pytest.mark.ray
def test_a_call_without_the_token_is_refused_at_once(head: Head, tmp_path: Path) -> None:
    advice = "the cluster asks for a token, and there is none; put the head's token"
    run = head.fld("run", f"cluster.address={head.address}", f"work={tmp_path}/w", home=tmp_path)
    assert run.returncode == 1
    assert f"fld: error: cluster.address={head.address}: {advice}" in run.stderr
    sent = head.submit(f"work={tmp_path}/w", home=tmp_path)
    assert sent.returncode == 1
    assert f"fld: error: cluster.ray.jobs={head.jobs}: {advice}" in sent.stderr
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{head.jobs}/api/jobs/", timeout=5)


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_makes_the_bytes_of_a_run_and_its_exit_code_is_that_of_the_command(
    head: Head, tmp_path: Path, small_run: Path
) -> None:
    work = tmp_path / "labels"
    settings = [*SMALL, "refine.rounds=0", "cluster.workers=1", f"work={work}"]
    done = head.submit(*settings)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("-1: done\n")
    assert (
        "round 0: specialists, filters" in done.stderr
        and f"head: {round_zero(work)}" in done.stderr
    )
    expected = published(small_run)
    made = published(work)
    tars = [name for name in made if name.endswith(".tar")]
    assert len(tars) == 6 and all(made[name] == expected[name] for name in tars)

    failing = ["source=folder", f"source.path={tmp_path}/nowhere", f"work={tmp_path}/none"]
    for attempt in (1, 2):
        failed = head.submit(*failing)
        assert failed.returncode == 2
        assert failed.stdout.endswith(f"-{attempt}: exit code 2\n")
        assert f"{tmp_path}/nowhere" in failed.stderr


def round_zero(work: Path) -> str:
    (folder,) = (work / "rounds").glob("00-*")
    return folder.name


def has_slurm() -> bool:
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    programs = ("sbatch", "slurmctld", "slurmd", "munged")
    return os.geteuid() == 0 and all(shutil.which(name, path=path) for name in programs)


@pytest.fixture
def slurm() -> Iterator[Path]:
    """A Slurm with two nodes on this machine; the path of its settings."""
    if not has_slurm():
        pytest.skip("needs root and Debian's packages slurm-wlm and munge")
    # Others must reach the socket of munge, so it does not lie in a folder of pytest.
    folder = tempfile.mkdtemp(prefix="fld-slurm-")
    script = str(ROOT / "scripts/local_slurm")
    try:
        subprocess.run([script, "start", folder, "2"], check=True, timeout=60)
        yield Path(folder) / "slurm.conf"
    finally:
        subprocess.run([script, "stop", folder], check=True, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.ray
def test_a_preempted_job_of_slurm_goes_on_and_makes_the_bytes_of_an_undisturbed_run(
    slurm: Path, tmp_path: Path, small_run: Path
) -> None:
    environment = {"SLURM_CONF": str(slurm)}
    work, folder = tmp_path / "labels", tmp_path / "jobs"
    settings = [*SMALL, f"work={work}", "cluster=slurm", "cluster.workers=1"]
    settings += ["cluster.slurm.nodes=2", "cluster.slurm.cpus=1", f"cluster.slurm.folder={folder}"]
    settings += [f"cluster.slurm.python={sys.executable}"]
    sent = fld("submit", *settings, env=environment)
    assert sent.returncode == 0, sent.stderr
    number = sent.stdout.split(": job ")[1].partition(",")[0]
    again = fld("submit", *settings, env=environment)
    assert again.returncode == 2 and "this run is in the queue already" in again.stderr

    wait_until(lambda: any((work / "rounds").glob("00-*/shards/*.tar")), folder)
    (token,) = folder.glob("*.token")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    # What Slurm does by itself shortly before the time limit.
    call(slurm, "scancel", "--signal=USR1", "--batch", number)
    wait_until(lambda: "Restarts=1" in call(slurm, "scontrol", "show", "job", number), folder)
    assert "the job goes back to the queue" in log(folder) and not token.exists()
    # Slurm waits for two minutes before it starts a job again.
    call(slurm, "scontrol", "update", f"JobId={number}", "StartTime=now")
    wait_until(lambda: call(slurm, "squeue", "--noheader", "--format=%i") == "", folder)
    assert published(work) == published(small_run), log(folder)[-3000:]


def call(slurm: Path, *command: str) -> str:
    """What a program of Slurm prints."""
    environment = {**os.environ, "SLURM_CONF": str(slurm)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def log(folder: Path) -> str:
    (file,) = folder.glob("*.log")
    return file.read_text()


def wait_until(ready: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + 600
    while not ready():
        assert time.monotonic() < deadline, log(folder)[-3000:]
        time.sleep(1)
