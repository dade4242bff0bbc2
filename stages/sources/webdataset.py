"""WebDataset tars. A tar is a shard; texts of its samples come in as alt-texts. Names are TAR/KEY.FIELD.

Tars may be packed (`.tgz`, `.tar.gz`, `.tar.bz2`, `.tar.xz`) and hostile (`stages.sources.tars`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pipeline.schema import Annotations
from stages.base import UNIQUE, SampleError
from stages.ingest import MAX_BYTES, NO_IMAGE, UNREADABLE, Item
from stages.ingest import SUFFIXES as IMAGE_SUFFIXES
from stages.sources.alt import alt_texts, parse_json, strings, unreadable_json
from stages.sources.files import Files
from stages.sources.tars import SUFFIXES, TarSample, Wanted, read_samples

SEVERAL_IMAGES = "several_images"
MAX_LABELS = 2 << 20  # bytes of a text or JSON member: parsed, it takes some thirty times as much


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDatasetConfig:
    """`path` is a folder of tars or one tar, any fsspec URL.

    `image` is the field of the picture (such as `input.png`), None for the only picture of a sample. `texts` are the
    fields that hold alt-texts; `json.NAME` is an entry of a JSON field. Keys are made of the tar's name and the
    sample's key; `unique_keys` says that the samples' own are unique over all tars, and keeps them.
    """

    path: str
    image: str | None = None
    texts: tuple[str, ...] = ("txt", "json.caption", "json.text", "json.alt")
    unique_keys: bool = field(default=False, metadata=UNIQUE)


class WebDatasetSource:
    whole: ClassVar[bool] = True

    def __init__(self, config: WebDatasetConfig) -> None:
        self._files, self.config = Files(config.path, SUFFIXES), config
        self._json = {text.partition(".")[0] for text in config.texts if "." in text}

    def list(self) -> list[str]:
        return self._files.list()

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            for sample in read_tar(self._files, name, self._wanted):
                yield self._item(name, sample)

    def revision(self, names: Sequence[str]) -> str:
        return ""

    def _wanted(self, field: str) -> int:
        if self._is_image(field):
            return MAX_BYTES
        return MAX_LABELS if field in self.config.texts or field in self._json else 0

    def _is_image(self, field: str) -> bool:
        if self.config.image is not None:
            return field == self.config.image
        return f".{field}".lower().endswith(IMAGE_SUFFIXES)

    def _item(self, tar: str, sample: TarSample) -> Item:
        name = f"{tar}/{sample.key}" if sample.key else tar
        images = [field for field in sample.members if self._is_image(field)]
        problem = sample.problem
        if not problem and len(images) != 1:
            detail = (
                f"the sample has {', '.join(images)}; choose with source.image" if images else ""
            )
            problem = SampleError(SEVERAL_IMAGES if images else NO_IMAGE, detail)
        key = f"{sample.key}.jpg" if self.config.unique_keys and sample.key else None
        if problem:
            return Item(name, key=key, failed=problem)
        return Item(
            f"{name}.{images[0]}",
            sample.members[images[0]],
            key=key,
            given=self._texts(sample.members),
        )

    def _texts(self, members: Mapping[str, bytes]) -> Annotations:
        known = {name: parse_json(members[name]) for name in self._json & members.keys()}
        found: list[str] = []
        for text in self.config.texts:
            field, _, entry = text.partition(".")
            if text in members:
                found.append(members[text].decode("utf-8", "replace"))
            elif known.get(field):
                found += strings((known[field] or {}).get(entry))
        return Annotations(
            texts=alt_texts(found)
            + [unreadable_json() for value in known.values() if value is None]
        )


def read_tar(files: Files, name: str, wanted: Wanted) -> Iterator[TarSample]:
    """The samples of a tar; a store that fails is one more, with the reason."""
    try:
        with files.open(name) as file:
            yield from read_samples(file, wanted)
    except SampleError as error:
        yield TarSample("", problem=error)
    except OSError as error:
        yield TarSample(
            "", problem=SampleError(UNREADABLE, f"{type(error).__name__}: {error}"[:200])
        )
