"""What a source with labels of people gives, for its tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.schema import Annotations
from stages import registry
from stages.ingest import receive

SIZE = (48, 40)


def source_of(use: str, **settings: Any) -> Any:
    cls, config = registry.load(use)
    return cls(
        config(
            **{
                name: str(value) if isinstance(value, Path) else value
                for name, value in settings.items()
            }
        )
    )


def labels_of(source: Any) -> dict[str, Annotations]:
    """The labels of every image as ingest gets them, in pixels of the stored picture."""
    names = source.list()
    return {item.name: receive(item).given for item in source.read(names)}


def boxes(labels: Annotations) -> list[tuple[str, tuple[float, ...], str | None]]:
    return [(r.phrase, tuple(round(x, 3) for x in r.box), r.dropped) for r in labels.regions]
