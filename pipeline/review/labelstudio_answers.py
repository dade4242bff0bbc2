"""The answers in a JSON export of Label Studio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.release.labelstudio import BOXES, TEXTS
from pipeline.review.picks import REGIONS
from pipeline.review.said import Answer, SaidBox, four, inside, text_in
from pipeline.schema import Record
from pipeline.storage.json_types import Json

SIDES = ("x", "y", "width", "height")
"""The fields of a rectangle of Label Studio."""


def of_label_studio(task: Json, key: str, record: Record) -> Answer | None:
    """The newest annotation of a task, None if nobody has submitted one."""
    annotation = _newest(task.get("annotations", []))
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


def _newest(annotations: Sequence[Json]) -> Json | None:
    """The annotation that was changed last, of those that are not cancelled; None if none is."""
    newest = None
    latest = ""
    for annotation in annotations:
        if annotation.get("was_cancelled"):
            continue
        changed = text_in(annotation, "updated_at")
        if newest is None or changed >= latest:
            newest, latest = annotation, changed
    return newest


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
    value = result.get("value", {})
    names = value.get("rectanglelabels") or []
    id_ = text_in(result, "id")
    if value.get("rotation") or result.get("image_rotation"):
        raise ValueError(f"{record.key}: the box {id_} is turned; draw it upright")
    if len(names) != 1:
        raise ValueError(f"{record.key}: the box {id_} needs one class, not {names}")
    where = f"{record.key}: the box {id_}"
    x, y, width, height = four([value.get(name) for name in SIDES], where)
    across = record.width / 100
    down = record.height / 100
    box = (x * across, y * down, (x + width) * across, (y + height) * down)
    box = inside(box, record)
    return SaidBox(id=id_, box=box, phrase=str(names[0]))
