"""WebDataset tars: each tar is a shard, and texts of its samples come in as alt-texts.

Names are TAR/KEY.FIELD. Tars may be packed (`.tgz`, `.tar.gz`, `.tar.bz2`, `.tar.xz`), and hostile
ones do no harm (see `stages.sources.tars`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pipeline.schema import Annotations
from stages.base import UNIQUE, SampleError
from stages.ingest import MAX_BYTES, NO_IMAGE, Item
from stages.ingest import SUFFIXES as IMAGE_SUFFIXES
from stages.sources.alt import alt_texts, parse_json, strings, unreadable_json
from stages.sources.files import Files, unreadable
from stages.sources.tars import SUFFIXES, TarSample, Wanted, read_samples

SEVERAL_IMAGES = "several_images"
# Bytes of a text or JSON member. When it is parsed it takes about thirty times as much memory.
MAX_LABELS = 2 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDatasetConfig:
    path: str
    """A folder of tars or one tar, any fsspec URL."""

    image: str | None = None
    """The field of the picture, such as `input.png`; null for the only picture of a sample."""

    texts: tuple[str, ...] = ("txt", "json.caption", "json.text", "json.alt")
    """Fields that hold alt-texts; `json.NAME` is an entry of a JSON field."""

    unique_keys: bool = field(default=False, metadata=UNIQUE)
    """Whether the samples' own keys are unique over all tars, so that they can be kept.

    Else keys are made of the tar's name and the sample's key.
    """


class WebDatasetSource:
    """The samples of the tars."""

    whole: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: WebDatasetConfig) -> None:
        self.config = config
        self._files = Files(config.path, SUFFIXES)
        self._json_fields = {text.partition(".")[0] for text in config.texts if "." in text}

    def list(self) -> list[str]:
        return self._files.list()

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            for sample in read_tar(self._files, name, self._max_bytes):
                yield self._item(name, sample)

    def revision(self, names: Sequence[str]) -> str:
        return ""

    def _max_bytes(self, field: str) -> int:
        if self._is_image(field):
            return MAX_BYTES
        if field in self.config.texts or field in self._json_fields:
            return MAX_LABELS
        return 0

    def _is_image(self, field: str) -> bool:
        if self.config.image is not None:
            return field == self.config.image
        return f".{field}".lower().endswith(IMAGE_SUFFIXES)

    def _item(self, tar: str, sample: TarSample) -> Item:
        name = tar
        key = None
        if sample.key:
            name = f"{tar}/{sample.key}"
            if self.config.unique_keys:
                key = f"{sample.key}.jpg"
        images = [field for field in sample.members if self._is_image(field)]
        problem = sample.problem or _image_problem(images)
        if problem:
            return Item(name, key=key, failed=problem)
        field = images[0]
        return Item(
            f"{name}.{field}",
            sample.members[field],
            key=key,
            given=self._alt_texts(sample.members),
        )

    def _alt_texts(self, members: Mapping[str, bytes]) -> Annotations:
        objects: dict[str, dict[str, object]] = {}
        broken = []
        for name in self._json_fields & members.keys():
            value = parse_json(members[name])
            if value is None:
                broken.append(unreadable_json())
            else:
                objects[name] = value
        texts: list[str] = []
        for text in self.config.texts:
            field, _, entry = text.partition(".")
            if text in members:
                texts.append(members[text].decode("utf-8", "replace"))
            elif field in objects:
                texts += strings(objects[field].get(entry))
        return Annotations(texts=alt_texts(texts) + broken)


def _image_problem(images: Sequence[str]) -> SampleError | None:
    """Why a sample whose pictures are the fields `images` cannot be used; None if it can."""
    if not images:
        return SampleError(NO_IMAGE)
    if len(images) > 1:
        detail = f"the sample has {', '.join(images)}; choose with source.image"
        return SampleError(SEVERAL_IMAGES, detail)
    return None


def read_tar(files: Files, name: str, wanted: Wanted) -> Iterator[TarSample]:
    """The samples of a tar. If its store fails, the last one is a problem with the reason."""
    try:
        with files.open(name) as file:
            yield from read_samples(file, wanted)
    except SampleError as error:
        yield TarSample("", problem=error)
    except OSError as error:
        yield TarSample("", problem=unreadable(error))
