"""The answers in a JSON export of Label Studio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pipeline.release.labelstudio import BOXES, TEXTS
from pipeline.review.picks import REGIONS
from pipeline.review.said import Answer, SaidBox, four, inside, text_in
from pipeline.rows import Record
from pipeline.storage.json_types import Json
from stages.sources.labelstudio_file import newest, rectangle


def of_label_studio(task: Json, key: str, record: Record) -> Answer | None:
    """The newest annotation of a task, None if nobody has submitted one."""
    annotation = cast("Json | None", newest(task.get("annotations")))
    if annotation is None:
        return None
    data = task["data"]
    groups = frozenset(data.get("groups", [REGIONS]))
    boxes: list[SaidBox] = []
    texts: dict[str, list[str]] = {}
    for group in groups.intersection(TEXTS):
        texts[group] = []
    for result in annotation.get("result", []):
        part = result.get("from_name")
        if part == BOXES:
            boxes.append(_percent_box(result, record))
        elif part in texts:
            texts[part] += result["value"]["text"]
    return Answer(
        key=key,
        groups=groups,
        boxes=boxes,
        texts=texts,
        why=text_in(data, "pick"),
        reviewer=_reviewer(annotation),
    )


def _reviewer(annotation: Json) -> str:
    """Who submitted an annotation: an address, or the number of a user."""
    who = annotation.get("completed_by", "")
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id", "")
    return str(who)


def _percent_box(result: Json, record: Record) -> SaidBox:
    """A rectangle of Label Studio.

    Raises:
        ValueError: it is turned, has no class, or lies outside of the image.
    """
    drawn = rectangle(result)
    where = f"{record.key}: the box {drawn.id}"
    if drawn.is_turned:
        raise ValueError(f"{where} is turned; draw it upright")
    if len(drawn.names) != 1:
        raise ValueError(f"{where} needs one class, not {list(drawn.names)}")
    four(list(drawn.sides), where)
    found = drawn.box((record.width, record.height))
    assert found is not None, "four has found no number missing"
    box = inside(found, record)
    return SaidBox(id=drawn.id, box=box, phrase=drawn.names[0])
