"""What a stage is: a class that loads its model once, and then maps batches of samples to results.

`pipeline.execution.worker` does the rest: it decodes images, makes the batches, halves them when
memory runs out, finds the sample that breaks a batch, fills in where annotations came from, counts,
and publishes. A stage never sees a file, a shard or Ray.

A stage's config is a frozen, keyword-only dataclass beside it. Two kinds of fields are marked:
`CONTENT` fields name a file, a folder or a hub model, and its content (not its path) enters the
recipe. `NOT_RECIPE` fields do not change results.

If a field has no effect beside some values of others, the config says so in a method
`without_effect() -> Iterator[str]`, which yields one line for each such field (see `no_effect`).
`fld run` and `fld plan` warn with these lines before anything runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from pipeline.schema import Annotation, Annotations

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRole:
    """What a field of a config means to those who do not know the config: `role_of` reads it."""

    content: bool = False
    """The value names a file, a folder or a hub model, and its content decides results."""
    recipe: bool = True
    """The value changes results, so it is part of the recipe."""
    identity: bool = True
    """For a source: the value decides what the names of its images mean."""
    unique: bool = False
    """For a source: if set, it claims that keys are unique over all files of the source."""
    added: bool = False
    """The field came later than results of its class that users have: while it has its default, it
    is not part of a recipe or an identity, so that these results keep their names."""


_ROLE = "role"

CONTENT: Mapping[str, FieldRole] = {_ROLE: FieldRole(content=True)}
NOT_RECIPE: Mapping[str, FieldRole] = {_ROLE: FieldRole(recipe=False)}
MAY_CHANGE: Mapping[str, FieldRole] = {_ROLE: FieldRole(identity=False)}
UNIQUE: Mapping[str, FieldRole] = {_ROLE: FieldRole(unique=True)}
ADDED: Mapping[str, FieldRole] = {_ROLE: FieldRole(added=True)}


def role_of(config_field: Field[object]) -> FieldRole:
    """The role of a config's field: `field(metadata=CONTENT)` and the like, or the default one."""
    role: FieldRole = config_field.metadata.get(_ROLE, FieldRole())
    return role


def default_of(config_field: Field[object]) -> object:
    """The default of a config's field; `MISSING` if there is none."""
    if config_field.default_factory is not MISSING:
        return config_field.default_factory()
    return config_field.default


def is_as_before(config_field: Field[object], value: object) -> bool:
    """Whether a field that came later (`ADDED`) has its default, so that all is as before it."""
    return role_of(config_field).added and value == default_of(config_field)


def no_effect(config: DataclassInstance, names: Iterable[str], reason: str) -> Iterator[str]:
    """A warning for each of these fields of a config whose value is not the default.

    `reason` says why the fields have no effect now, and what to change.
    """
    wanted = set(names)
    for config_field in fields(config):
        value = getattr(config, config_field.name)
        if config_field.name in wanted and value != default_of(config_field):
            yield f"{config_field.name}={_shown(value)}: no effect: {reason}"


def _shown(value: object) -> str:
    """A value as it is typed on the command line, on one line."""
    return value if isinstance(value, str) and value else json.dumps(value, default=asdict)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and all annotations that earlier stages have made."""

    key: str
    size: tuple[int, int]
    """(width, height) in pixels."""
    round: int = 0
    """The round that is being made."""
    annotations: Annotations = field(default_factory=Annotations)
    """Dropped ones too. A stage looks at the kept ones, unless it is a filter."""
    image: np.ndarray | None = None
    """(height, width, 3) uint8 RGB, read-only; None for a stage that does not look at images."""

    def fresh(self, annotation: Annotation) -> bool:
        """Whether an annotation is kept and was made in this round.

        Specialists work on these, so that a later round completes only what it changed.
        """
        return annotation.dropped is None and annotation.round == self.round

    @property
    def pixels(self) -> np.ndarray:
        """The image, (height, width, 3) uint8 RGB, read-only; only with `reads_images`."""
        assert self.image is not None, "the stage must set reads_images"
        return self.image


Batch = Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Failed:
    """A sample that a stage could not do."""

    reason: str
    """Short and in snake_case; failures are counted by it."""
    detail: str = ""
    """One line for a person."""


Result = Annotations | Failed


class Stage(Protocol):
    """The interface of a stage; `stages/specialists/ocr.py` is a complete example.

    A result holds only what the stage adds (with an empty `id`) or revises (with the `id` of the
    annotation that it replaces; if several stages revise one, the last of them wins).

    More class variables are optional. With `needs` and `gives`, a run whose stages stand in a wrong
    order is refused before it begins (`pipeline.config.needs`). Both are tuples of these words:
    texts, parsed_texts, regions, candidate_texts (of regions), text_regions, triplets.

    `needs`: what the stage must read, so that it has anything to do. "regions or triplets" means
    that one of them is enough.
    A stage with a model may have a method `check(config)` that raises `ValueError` or `StageError`
    if the files which the config names cannot be used. It must not load more than seconds' worth:
    `fld plan` and `fld run` call it for every stage before anything runs.

    `gives`: what it may add. A stage or a source without `gives` may add anything.

    `revises`: the kinds of annotations that it may change: texts, regions, text_regions, triplets.
    A revision replaces the whole annotation. So of two stages that revise one kind, one must come
    after the other, or what the first has added to an annotation would be lost.

    A filter says in `drops` what it may drop: texts, regions, text_regions, triplets, and in
    `decided_by` for each of its reasons the setting that decides it. The config of
    a specialist says in `composes` of which of these the stage makes its annotations, such as a
    caption from regions. The filters that drop these then run before it, so that it names nothing
    that is dropped (`pipeline.config.order`). In `parents` its annotations name what they were made
    from, and follow it if it is dropped later (`stages.links`).
    """

    version: ClassVar[int]
    """Raise it when the same input gives another output."""
    reads_images: ClassVar[bool]
    """Whether samples come with decoded images."""

    def __init__(self, config: Any) -> None: ...

    def __call__(self, batch: Batch) -> list[Result]: ...


def needs_of(stage: object) -> tuple[str, ...]:
    """What a stage must read, by its class; see `Stage`."""
    needs: tuple[str, ...] = getattr(stage, "needs", ())
    return needs


def gives_of(stage: object) -> tuple[str, ...] | None:
    """What a stage or a source may add, by its class; None if the class does not say it."""
    gives: tuple[str, ...] | None = getattr(stage, "gives", None)
    return gives


def revises_of(stage: object) -> tuple[str, ...]:
    """The kinds of annotations that a stage may change, by its class; see `Stage`."""
    kinds: tuple[str, ...] = getattr(stage, "revises", ())
    return kinds


def drops_of(stage: object) -> tuple[str, ...]:
    """The kinds of annotations that a filter may drop, by its class; see `Stage`."""
    drops: tuple[str, ...] = getattr(stage, "drops", ())
    return drops


def decided_by(stage: object) -> Mapping[str, str]:
    """For each reason of a filter the setting that decides it, by its class; see `Stage`."""
    settings: Mapping[str, str] = getattr(stage, "decided_by", {})
    return settings


def composes_of(config: object) -> tuple[str, ...]:
    """The kinds of annotations of which a stage makes its own, by its config; see `Stage`."""
    kinds: tuple[str, ...] = getattr(config, "composes", ())
    return kinds


class SampleError(ValueError):
    """One sample is at fault. If a stage raises it, that sample gets a `Failed` row."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class StageError(Exception):
    """No sample is at fault. It ends the run in one line, at the first shard.

    For example: a wrong setting, missing credentials, a model that cannot be loaded, or missing
    input of the stage. The message says what to change.
    """


def fold_of(key: str, folds: int) -> int:
    """Which of `folds` equal parts a sample belongs to. It depends on the key alone."""
    return zlib.crc32(f"fold {key}".encode()) % folds


def held_out(key: str, share: float) -> bool:
    """Whether a sample is among the `share` that is kept out of training, to judge rounds by.

    It depends on the key alone.
    """
    # The key is hashed with its length, as `pipeline.storage.manifest.digest` does.
    hashed = hashlib.sha256(f"{len(key)}:{key}".encode()).hexdigest()[:12]
    # The 12 digits as a number in [0, 1).
    return int(hashed, 16) / 16**12 < share


# What the CPU allocators of torch, onnxruntime and OpenCV say.
OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "Failed to allocate memory",
    "Insufficient memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, CUDA or the CPU allocator of a library ran out of memory."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in OUT_OF_MEMORY)


def thread_count() -> int:
    """How many threads this process may use. The worker sets OMP_NUM_THREADS from the settings."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))
