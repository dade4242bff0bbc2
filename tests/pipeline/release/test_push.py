"""`fld release push`, against a stand-in for the Hub with real sockets (`hub_server.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from pipeline.cli import main
from pipeline.release import push as push_module
from pipeline.release.hub import PushFailed
from pipeline.release.push import Push, Target, check_token
from pipeline.release.push_plan import Plan, local_release
from tests.pipeline.release.hub_server import READ_ONLY, TOKEN, HubServer, serving
from tests.pipeline.release.rounds import released

REPO = "me/scenes"


@pytest.fixture(scope="session")
def release(labelled: Path) -> Path:
    return released(labelled, "splits.test=0.2", "name=pushed")


@pytest.fixture(scope="session")
def second(labelled: Path) -> Path:
    """The next version, without one of the images."""
    listed = labelled.parent / "takedown.txt"
    listed.write_text("scene_000003.jpg\n")
    return released(
        labelled, "splits.test=0.2", "name=pushed", "version=2.0.0", f"takedown={listed}"
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # The stand-in has Git LFS only.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving(tmp_path / "hub") as server:
        yield server


def push_of(folder: Path, hub: HubServer, token: str = TOKEN, **target: Any) -> Push:
    release = local_release(str(folder), lambda done, total: None)
    return Push(release, Target(**{"repo": REPO, **target}), HfApi(hub.url, token=token))


def pushed(folder: Path, hub: HubServer, **target: Any) -> Plan:
    return push_of(folder, hub, **target).run(lambda done, total: None)


def files_of(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_a_release_arrives_whole_and_tagged_and_a_second_push_sends_nothing(
    release: Path, hub: HubServer
) -> None:
    before = files_of(release)
    plan = push_of(release, hub).plan()
    assert hub.repositories == {} and plan.is_new
    assert set(plan.uploads) == before.keys()
    assert plan.bytes == sum(map(len, before.values()))
    assert pushed(release, hub) == plan
    assert hub.read(REPO, "main") == hub.read(REPO, "1.0.0") == before
    assert not hub.repositories[REPO].private
    hub.calls.clear()
    again = pushed(release, hub)
    assert again.is_done and again.uploads == []
    assert not {"upload", "commit", "create", "tag"} & hub.calls.keys()
    # The upload leaves nothing behind in the folder, which still verifies.
    assert files_of(release) == before


def test_the_next_version_sends_what_is_new_and_the_old_tag_stays(
    release: Path, second: Path, hub: HubServer
) -> None:
    pushed(release, hub)
    hub.repositories[REPO].branches["main"]["notes.txt"] = hub.keep(b"of the owner")
    hub.calls.clear()
    plan = pushed(second, hub)
    old, new = files_of(release), files_of(second)
    assert set(plan.uploads) == {name for name in new if old.get(name) != new[name]}
    assert set(plan.deletions) == old.keys() - new.keys()
    assert hub.read(REPO, "main") == {**new, "notes.txt": b"of the owner"}
    assert hub.read(REPO, "1.0.0") == old
    # An older version may be pushed later; then it is on the branch.
    assert pushed(release, hub).is_done


def test_a_version_that_is_there_with_other_checksums_is_refused(
    release: Path, labelled: Path, tmp_path: Path, hub: HubServer
) -> None:
    pushed(release, hub)
    other = released(labelled, "splits.test=0.5", "name=other")
    with pytest.raises(ValueError, match=r"holds version 1\.0\.0 with other checksums"):
        pushed(other, hub)
    # Also if only the branch tells it: the push was killed before its tag.
    hub.repositories[REPO].tags.clear()
    with pytest.raises(ValueError, match=r"holds version 1\.0\.0 with other checksums"):
        pushed(other, hub)
    assert hub.read(REPO, "main") == files_of(release)
    assert pushed(release, hub).uploads == []
    assert hub.read(REPO, "1.0.0") == files_of(release)


def test_a_push_that_fails_half_way_is_no_whole_release_and_goes_on(
    release: Path, second: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "FILES_PER_COMMIT", 4)
    pushed(release, hub)
    commit = HfApi.create_commit
    done = []

    def fails_at_the_third(self: HfApi, *arguments: Any, **options: Any) -> object:
        done.append(arguments)
        if len(done) == 3:
            hub.fail = "commit"
        return commit(self, *arguments, **options)

    monkeypatch.setattr(HfApi, "create_commit", fails_at_the_third)
    with pytest.raises(PushFailed, match=r"answered 500.*the same command resumes"):
        pushed(second, hub)
    # The branch is between two versions, so it has no checksums; the tag is whole.
    assert "SHA256SUMS" not in hub.read(REPO, "main")
    assert hub.read(REPO, "1.0.0") == files_of(release)
    hub.fail = ""
    hub.calls.clear()
    plan = pushed(second, hub)
    assert hub.calls["upload"] < len(plan.uploads)
    assert hub.read(REPO, "main") == hub.read(REPO, "2.0.0") == files_of(second)


def test_a_branch_and_a_private_repository(release: Path, hub: HubServer) -> None:
    pushed(release, hub, revision="draft", is_private=True)
    repository = hub.repositories[REPO]
    assert repository.private and repository.branches["main"] == {}
    assert hub.read(REPO, "draft") == hub.read(REPO, "1.0.0") == files_of(release)
    repository.private = False
    with pytest.raises(ValueError, match="is public, but --private was asked for"):
        pushed(release, hub, is_private=True)


def test_each_mistake_has_its_line(
    release: Path, tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wanted, line in [
        ({"token": "hf_wrong"}, "me/scenes: the Hub does not know the token"),
        ({"token": READ_ONLY}, "me/scenes: the token may not write there"),
        ({"repo": "you/scenes"}, "you/scenes: the token may not write there"),
    ]:
        with pytest.raises(ValueError, match=line):
            pushed(release, hub, **wanted)
    for repo, line in [("scenes", "give the repository as NAMESPACE/NAME"), ("me/s e", "me/s e")]:
        with pytest.raises(ValueError, match=line):
            Target(repo=repo).check()
    assert hub.calls["upload"] == 0
    push = push_of(release, hub)
    push.hub.api.endpoint = "http://127.0.0.1:9"
    with pytest.raises(PushFailed, match="the Hub cannot be reached"):
        push.plan()
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(ValueError, match="run `hf auth login`, or set HF_TOKEN"):
        check_token(HfApi(hub.url))
    check_token(HfApi(hub.url, token=TOKEN))


def test_only_a_whole_release_on_this_machine_is_pushed(release: Path, tmp_path: Path) -> None:
    def advance(done: int, total: int) -> None:
        """Print nothing."""

    with pytest.raises(ValueError, match="no release there"):
        local_release(str(tmp_path), advance)
    with pytest.raises(ValueError, match="is no folder of this machine"):
        local_release("s3://bucket/release", advance)
    broken = tmp_path / "broken"
    for name, data in files_of(release).items():
        (broken / name).parent.mkdir(parents=True, exist_ok=True)
        (broken / name).write_bytes(data)
    (broken / "README.md").write_text("nothing")
    with pytest.raises(ValueError, match=r"has \d+ problems, such as README.md.*release verify"):
        local_release(str(broken), advance)


@pytest.mark.subprocess
def test_a_push_that_is_killed_goes_on_where_it_was(
    release: Path, tmp_path: Path, hub: HubServer
) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "pipeline.cli", "release", "push", str(release), REPO]
    hub.pause = 0.5
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while hub.calls["upload"] < 4 and time.monotonic() < until:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    sent = hub.calls["upload"]
    large = [name for name in files_of(release) if name.endswith((".tar", ".parquet"))]
    assert 4 <= sent < len(large) and hub.repositories[REPO].tags == {}
    hub.pause = 0.0
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("uploaded: ")
    assert hub.read(REPO, "main") == hub.read(REPO, "1.0.0") == files_of(release)
    # Some uploads may have been under way when it was killed; none that had arrived is sent again.
    assert hub.calls["upload"] <= len(large) + 5


@pytest.mark.parametrize("why", ["HF_HUB_OFFLINE is set", "the Hub cannot be reached"])
def test_a_dry_run_that_cannot_ask_the_hub_lists_all_files(
    release: Path, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", why.startswith("HF"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(["release", "push", str(release), REPO, "--dry-run"]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert set(lines[:-1]) == files_of(release).keys()
    assert lines[-1].startswith(f"to upload: {len(files_of(release))} files, ")
    (warning,) = (line for line in told.err.splitlines() if "warning" in line)
    assert warning.startswith(f"fld: warning: {why}")
    assert warning.endswith("; all files are listed, as if it had none")
