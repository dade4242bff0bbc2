"""All models of a recipe: what is known of each, and how much of it is here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.models import fetch as fetching
from pipeline.models.catalogue import Published, catalogue, in_words
from pipeline.models.state import Presence, State, changed_files, file_path, state_of
from pipeline.models.wanted import Kind, Wanted, wanted_models
from pipeline.storage.json_types import Json
from stages.hub import HubModel, cache_folder

# Digits of a commit that are shown.
SHOWN_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of `fld models list`."""

    wanted: Wanted
    state: State
    published: Published | None
    """What is known of it; None for nothing."""

    @property
    def size(self) -> str:
        """Its size; empty if that is not known."""
        return self.published.size if self.published and self.published.megabytes else ""

    @property
    def licence(self) -> str:
        """Its licence; empty if that is not known."""
        return self.published.licence if self.published else ""

    @property
    def hub(self) -> HubModel:
        """The model of the hub."""
        return HubModel(self.wanted.name, self.wanted.revision)

    @property
    def is_to_fetch(self) -> bool:
        """Whether `fetch` has something to do for it."""
        if self.wanted.kind is Kind.HUB:
            return self.state.presence not in (Presence.HERE, Presence.UNUSABLE)
        return self.wanted.kind is Kind.UNSET and self.state.presence is Presence.UNSET

    def cells(self) -> list[str]:
        """What the table shows of it."""
        wanted = self.wanted
        name = wanted.name or "-"
        size = self.size or "-"
        if wanted.kind is Kind.UNSET:
            name = f"({name})"
        if wanted.kind is Kind.PACKAGE:
            size = "installed"
        return [
            name,
            wanted.role,
            self.licence or "-",
            size,
            wanted.revision[:SHOWN_DIGITS] or "-",
            self.state.presence.value,
        ]

    def plain(self) -> Json:
        """The same for `--json`."""
        wanted = self.wanted
        megabytes = self.published.megabytes if self.published else None
        return {
            "settings": list(wanted.settings),
            "role": wanted.role,
            "from": wanted.kind.value,
            "name": wanted.name,
            "revision": wanted.revision,
            "licence": self.licence or None,
            "megabytes": megabytes or None,
            "state": self.state.presence.value,
            "detail": self.state.detail,
        }


def inventory(values: Json) -> list[Listed]:
    """The models of a run, by its plain settings, with what is here of them."""
    listed = []
    for wanted in wanted_models(values):
        listed.append(Listed(wanted, state_of(wanted), catalogue().of(wanted.name)))
    return listed


def all_problems(listed: Sequence[Listed], deep: bool = False) -> list[str]:
    """The lines of `problems` for several models."""
    lines: list[str] = []
    for one in listed:
        lines += problems(one, deep)
    return lines


def problems(one: Listed, deep: bool = False) -> Iterator[str]:
    """A line if a model is not here or only half; with `deep` also for each changed file."""
    wanted, state = one.wanted, one.state
    where = ", ".join(wanted.settings)
    if state.presence is not Presence.HERE:
        line = where
        if wanted.name:
            line += f": {wanted.name}"
        if one.size:
            line += f" ({one.size})"
        line += f": {state.presence.value}"
        if state.detail:
            line += f": {state.detail}"
        yield line
    elif deep and wanted.kind is Kind.HUB:
        for file in changed_files(one.hub):
            yield (
                f"{where}: {wanted.name}: {file} is not the file of the hub (its digest is another "
                f"one); remove {(one.hub.folder / file).resolve()}, and fetch it again"
            )


def proposals(listed: Sequence[Listed]) -> Iterator[str]:
    """A line for each setting that the recipe leaves open."""
    for one in listed:
        if one.wanted.kind is Kind.UNSET:
            yield f"({one.wanted.name or '-'}): {one.state.detail}"


def summary(listed: Sequence[Listed], typed: Sequence[str]) -> str:
    """How much is missing, and the command that gets it."""
    missing = [one for one in listed if one.is_to_fetch]
    if not missing:
        return f"nothing to fetch; the cache of models is {cache_folder()}"
    megabytes = 0
    about = ""
    for one in missing:
        if one.published is None or one.published.about:
            about = "about "
        if one.published is not None:
            megabytes += one.published.megabytes
    size = in_words(megabytes * 10**6)
    command = " ".join(["fld models fetch", *typed])
    count = "1 model" if len(missing) == 1 else f"{len(missing)} models"
    return f"`{command}` gets {count} ({about}{size}) into {cache_folder()}"


def fetch(one: Listed) -> str:
    """Fetch what is missing of a model; a line that says what came and where it is.

    Raises:
        ValueError: no commit is set, or the hub has no such model.
        FetchFailed: the network or the disk failed; the same command goes on from there.
    """
    wanted = one.wanted
    setting = wanted.settings[0]
    if wanted.kind is Kind.UNSET and wanted.name in catalogue().files:
        known = catalogue().files[wanted.name]
        came = fetching.fetch_file(wanted.name, known)
        return f"fetched {in_words(came)}: give {setting}={file_path(wanted.name)}"
    if not wanted.name:
        raise ValueError(f"{setting}: not set, and we know no model to propose")
    if not wanted.revision:
        newest = fetching.newest_commit(wanted.name)
        raise ValueError(
            f"{setting}: {wanted.name} without a commit; its newest one is {newest}: "
            f"{_with_commit(setting, wanted.name, newest)}"
        )
    came = fetching.fetch_model(one.hub)
    given = ""
    if wanted.kind is Kind.UNSET:
        given = f"; give {setting}={wanted.name}@{wanted.revision}"
    return f"fetched {in_words(came)}: {wanted.name} is in {one.hub.folder}{given}"


def _with_commit(setting: str, name: str, commit: str) -> str:
    """How a setting names a model at a commit."""
    where, _, last = setting.rpartition(".")
    if last == "model":
        return f"set {where}.revision={commit}"
    return f"set {setting}={name}@{commit}"
