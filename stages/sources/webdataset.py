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
from stages.source import MAX_BYTES, NO_IMAGE, Item
from stages.source import SUFFIXES as IMAGE_SUFFIXES
from stages.sources.alt import alt_texts, unreadable_json
from stages.sources.files import Files
from stages.sources.named import named_fields
from stages.sources.tar_texts import MAX_LABELS, Members, check_fields, fields_of
from stages.sources.tars import SUFFIXES, TarSample, read_tar

SEVERAL_IMAGES = "several_images"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDatasetConfig:
    path: str
    """A folder of tars or one tar, any fsspec URL."""

    image: str | None = None
    """The field of the picture, such as `input.png`, in upper or lower case; null for the only
    picture of a sample."""

    texts: tuple[str, ...] = ("txt", "json.caption", "json.text", "json.alt")
    """Fields that hold alt-texts, in upper or lower case; `json.NAME` is an entry of a JSON field,
    `json.NAME.NAME` one of an object in it."""

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
        self._image = config.image.lower() if config.image is not None else None
        self._label_fields = fields_of(config.texts)

    def list(self) -> list[str]:
        names = self._files.list()
        check_fields(named_fields(self.config, ("image", "texts")), self._files, names)
        return names

    def files_of(self, name: str) -> tuple[str, ...]:
        return (name,)

    def stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            for sample in read_tar(self._files, name, self._max_bytes):
                yield self._item(name, sample)

    def revision(self, names: Sequence[str]) -> str:
        return ""

    def _max_bytes(self, field: str) -> int:
        if self._is_image(field):
            return MAX_BYTES
        return MAX_LABELS if field in self._label_fields else 0

    def _is_image(self, field: str) -> bool:
        if self._image is not None:
            return field == self._image
        return f".{field}".endswith(IMAGE_SUFFIXES)

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
            f"{name}.{sample.spelled[field]}",
            sample.members[field],
            key=key,
            given=self._alt_texts(sample.members),
        )

    def _alt_texts(self, contents: Mapping[str, bytes]) -> Annotations:
        members = Members(contents)
        texts: list[str] = []
        for path in self.config.texts:
            texts += members.texts(path)
        broken = [unreadable_json() for value in members.objects.values() if value is None]
        return Annotations(texts=alt_texts(texts) + broken)


def _image_problem(images: Sequence[str]) -> SampleError | None:
    """Why a sample whose pictures are the fields `images` cannot be used; None if it can."""
    if not images:
        return SampleError(NO_IMAGE)
    if len(images) > 1:
        detail = f"the sample has {', '.join(images)}; choose with source.image"
        return SampleError(SEVERAL_IMAGES, detail)
    return None
