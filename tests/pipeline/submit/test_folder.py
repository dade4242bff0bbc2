"""What is sent of a working folder, and what never is."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from pipeline.storage import layout_journal
from pipeline.submit.folder import check_size, is_secret, pack, read_folder


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def sent(root: Path, *needed: str) -> list[str]:
    return [file.name for file in read_folder(root, needed).files]


def test_version_control_environments_outputs_and_work_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "stage.py", ".git/config", "a/__pycache__/stage.pyc", "env/pyvenv.cfg")
    write(
        tmp_path,
        "env/bin/python",
        "outputs/1/log",
        f"labels/{layout_journal.LEASE}",
        "labels/a.tar",
    )
    assert sent(tmp_path) == ["stage.py"]


RULES = {
    ".gitignore": "*.ckpt\n!kept.ckpt\n/top.txt\nlogs/\n# a comment\n",
    "sub/.gitignore": "!again.ckpt\nsecond/*\n!second/yes\n",
}
NAMES = [
    *("a.ckpt", "kept.ckpt", "top.txt", "sub/top.txt", "logs/x", "sub/logs/x", "sub/a.ckpt"),
    *("sub/again.ckpt", "sub/second/no", "sub/second/yes", "sub/logs.txt", "with space.py"),
]


def ignoring(root: Path) -> None:
    write(root, *NAMES)
    for name, rules in RULES.items():
        (root / name).write_text(rules)


def test_gitignore_files_count_also_below_and_without_git(tmp_path: Path) -> None:
    ignoring(tmp_path)
    assert sent(tmp_path) == [
        *(".gitignore", "kept.ckpt", "sub/.gitignore", "sub/again.ckpt", "sub/logs.txt"),
        *("sub/second/yes", "sub/top.txt", "with space.py"),
    ]


@pytest.mark.subprocess
def test_what_is_sent_is_what_git_would_add(tmp_path: Path) -> None:
    ignoring(tmp_path)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    listing = ["git", "-C", str(tmp_path), "ls-files", "--others", "--exclude-standard", "-z"]
    of_git = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    assert sent(tmp_path) == sorted(of_git.rstrip("\0").split("\0"))


SECRETS = [
    *(".env", ".env.local", "prod.env", "keys/server.pem", "id_ed25519", "id_rsa.old", ".netrc"),
    *("hf_token", "api.token", "my-token", "Credentials.json", ".aws/credentials", ".ssh/config"),
    *("gcp/service-account-1.json", ".kube/config", "secrets.yaml", ".ray/auth_token", ".pypirc"),
]


def test_no_secret_is_sent_and_each_is_named(tmp_path: Path) -> None:
    write(tmp_path, "stage.py", "tokenizer.json", "environment.yaml", "keyboard.py", *SECRETS)
    folder = read_folder(tmp_path)
    assert [file.name for file in folder.files] == [
        *("environment.yaml", "keyboard.py", "stage.py", "tokenizer.json"),
    ]
    left_out = [any(secret.startswith(name) for name in folder.secrets) for secret in SECRETS]
    assert all(left_out)


def test_a_link_to_a_secret_is_a_secret_and_a_linked_folder_is_not_sent(tmp_path: Path) -> None:
    write(tmp_path, "home/.ssh/id_rsa", "home/data/photo.jpg", "code/stage.py")
    (tmp_path / "code/harmless").symlink_to(tmp_path / "home/.ssh/id_rsa")
    (tmp_path / "code/data").symlink_to(tmp_path / "home/data")
    folder = read_folder(tmp_path / "code")
    assert [file.name for file in folder.files] == ["stage.py"]
    assert folder.secrets == ("harmless",)


def test_a_file_that_a_setting_names_is_sent_although_git_ignores_it(tmp_path: Path) -> None:
    write(tmp_path, "stage.py", "models/detector.onnx")
    (tmp_path / ".gitignore").write_text("models/\n")
    assert "models/detector.onnx" in sent(tmp_path, "models/detector.onnx")


def test_a_folder_too_large_names_its_largest_files(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "b.py")
    (tmp_path / "film.mp4").write_bytes(bytes(2_000_000))
    (tmp_path / "photo.png").write_bytes(bytes(600_000))
    check_size(read_folder(tmp_path), 3)
    with pytest.raises(ValueError) as told:
        check_size(read_folder(tmp_path), 2)
    assert str(told.value) == (
        f"cluster.ray.folder={tmp_path}: 2.6 MB to send, more than cluster.ray.max_mb=2; "
        "the largest: film.mp4 (2.0 MB), photo.png (0.6 MB), a.py (0.0 MB); "
        "list what the job does not need in .gitignore, or raise the limit"
    )


def test_equal_folders_make_equal_archives_and_programs_stay_programs(tmp_path: Path) -> None:
    archives = []
    for place in ("one", "two"):
        write(tmp_path / place, "stage.py", "scripts/run")
        (tmp_path / place / "scripts/run").chmod(0o755)
        archive = tmp_path / f"{place}.zip"
        pack(read_folder(tmp_path / place), archive, [("settings.yaml", "seed: 1\n")])
        archives.append(archive.read_bytes())
    assert archives[0] == archives[1]
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        assert packed.namelist() == ["scripts/run", "stage.py", "settings.yaml"]
        assert packed.getinfo("scripts/run").external_attr >> 16 == 0o755
        assert packed.read("settings.yaml") == b"seed: 1\n"


def test_names_of_code_and_weights_are_no_secrets() -> None:
    names = ["tokenizer.json", "tokens.py", "added_tokens.json", "key.py", "environment.yml"]
    assert [name for name in names if is_secret(name)] == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cluster.ray.folder=.*nowhere: no such folder"):
        read_folder(tmp_path / "nowhere")
