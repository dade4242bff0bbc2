"""The alt-texts of a sample of a tar, and whether tars have the fields that settings name."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stages.source import SUFFIXES as IMAGE_SUFFIXES
from stages.sources.alt import entry_of, parse_json, split_path, strings
from stages.sources.files import Files
from stages.sources.named import NamedField, hint, near_names
from stages.sources.tars import TarSample, Wanted, read_tar

# Bytes of a text or JSON member. When it is parsed it takes about thirty times as much memory.
MAX_LABELS = 2 << 20
# So many samples are looked at before a run.
LOOK = 300
JSON = "json"


@dataclass(slots=True)
class Members:
    """The text and JSON members of one sample."""

    contents: Mapping[str, bytes]
    """By field."""
    objects: dict[str, dict[str, object] | None] = field(default_factory=dict)
    """The JSON members that were parsed, by field; None for one that holds no object."""

    def texts(self, path: str) -> list[str]:
        """The texts of a field, or of FIELD.NAME: an entry of a JSON field.

        The field may be in upper or lower case.
        """
        found = split_path(path, self.contents, lower=True)
        if found is None:
            return []
        name, entry = found
        if not entry:
            return [self.contents[name].decode("utf-8", "replace")]
        return strings(entry_of(self.object(name), entry))

    def holds(self, path: str) -> bool:
        """Whether there is a field or an entry at a path, even if it holds no text."""
        found = split_path(path, self.contents, lower=True)
        return found is not None and entry_of(self.object(found[0]), found[1]) is not None

    def object(self, name: str) -> dict[str, object] | None:
        """The object of a JSON member; None if there is none in it."""
        if name not in self.objects:
            self.objects[name] = parse_json(self.contents[name])
        return self.objects[name]


def fields_of(paths: Iterable[str]) -> frozenset[str]:
    """Every field that one of the paths may begin with, in lower case."""
    found = set()
    for path in paths:
        parts = path.lower().split(".")
        found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return frozenset(found)


class Look:
    """What the first samples of some tars have of the fields that settings name."""

    def __init__(self, named: Sequence[NamedField]) -> None:
        self.missing = [one for one in named if one.typed]
        """The fields that no sample has had so far."""
        self.samples = 0
        """How many samples were looked at."""
        self._label_fields = fields_of(one.name for one in named if one.setting == "texts")
        # By field, and by FIELD.NAME for the entries of JSON fields: whether it holds texts.
        self._has_text: dict[str, bool] = {}
        self._without_text = set[NamedField]()

    def wanted(self, name: str) -> int:
        """What to read of a field: JSON and what may hold texts. Images need only be there."""
        is_json = name.rpartition(".")[2] == JSON
        self._has_text.setdefault(name, not is_json)
        return MAX_LABELS if is_json or name in self._label_fields else 0

    def add(self, sample: TarSample) -> None:
        """Look at one sample."""
        self.samples += 1
        members = Members(sample.members)
        self.missing = [one for one in self.missing if not self._has(one, members)]
        if self.missing:
            self._add_entries(members)

    def problem(self, named: NamedField) -> str:
        """Why nothing can serve as what a setting names."""
        return "it holds no text" if named in self._without_text else "there is no such field"

    def choices(self, named: NamedField) -> list[str]:
        """What could be named instead."""
        found = []
        for path, has_text in self._has_text.items():
            is_image = f".{path}".endswith(IMAGE_SUFFIXES)
            if is_image if named.setting == "image" else has_text and not is_image:
                found.append(path)
        return found

    def _has(self, named: NamedField, members: Members) -> bool:
        """Whether there is a field that can serve as what a setting names."""
        if named.setting == "image":
            return named.name.lower() in self._has_text
        has_texts = bool(members.texts(named.name))
        if not has_texts and members.holds(named.name):
            self._without_text.add(named)
        return has_texts

    def _add_entries(self, members: Members) -> None:
        """Note the entries of one sample's JSON fields."""
        for name in members.contents:
            if name.rpartition(".")[2] != JSON:
                continue
            for entry, value in _entries(members.object(name) or {}):
                path = f"{name}.{entry}"
                self._has_text[path] = self._has_text.get(path, False) or bool(strings(value))


def check_fields(named: Sequence[NamedField], files: Files, tars: Sequence[str]) -> None:
    """Look for fields that settings name in the first samples of the tars.

    Raises:
        ValueError: none of these samples has a field, and there is one of a name like it, or no
            field that the setting names is there, or these are all samples.
    """
    look = Look(named)
    if not look.missing:
        return
    for sample in itertools.islice(_samples(files, tars, look.wanted), LOOK):
        look.add(sample)
        if not look.missing:
            return
    for one in look.missing:
        others = [other for other in named if other.setting == one.setting]
        _refuse(one, look, is_only=all(other in look.missing for other in others))


def _refuse(named: NamedField, look: Look, is_only: bool) -> None:
    """Refuse a field that no sample has, or warn if later samples may have it.

    `is_only` says that no other field of the setting is there.
    """
    choices = look.choices(named)
    if not choices and not look.samples:
        # No tar can be read. The run says why.
        return
    is_whole = look.samples < LOOK
    problem = f"{look.problem(named)} in the first {look.samples} samples"
    if is_whole or is_only or near_names(named.name, choices):
        raise ValueError(f"{named.shown}: {problem}; {hint(named.name, choices)}")
    logging.getLogger("fld").warning("%s: %s; later ones may have it", named.shown, problem)


def _samples(files: Files, tars: Sequence[str], wanted: Wanted) -> Iterator[TarSample]:
    for tar in tars:
        yield from read_tar(files, tar, wanted)


def _entries(value: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The entries of an object, and those of the objects in it."""
    for name, entry in value.items():
        yield name, entry
        if isinstance(entry, Mapping):
            for inner, content in entry.items():
                yield f"{name}.{inner}", content
