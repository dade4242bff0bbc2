"""Small records for tests of reviews."""

from __future__ import annotations

from typing import Any

from pipeline.rows import Record
from pipeline.schema import Annotations, Region, Text


def region(id_: str, **more: Any) -> Region:
    return Region(**{"id": id_, "source": "detect", "box": (0, 0, 10, 10), "phrase": "dog", **more})


def record_of(key: str, *regions: Region, texts: tuple[Text, ...] = ()) -> Record:
    labels = Annotations(regions=list(regions), texts=list(texts))
    return Record(key=key, name=f"{key}.jpg", width=50, height=40, sha256="", annotations=labels)
