"""What people say of samples, read from the files of Label Studio, of COCO, or of an audit page.

Every reader checks the file as a whole before anything is imported, so a file comes in whole or not
at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from pipeline.quality.audit import NO, YES
from pipeline.release.labelstudio import BOXES, TEXTS
from pipeline.review.picks import REGIONS
from pipeline.schema import Box, Record
from pipeline.storage.json_types import Json
from stages.sources.shapes import is_number

SIDES = ("x", "y", "width", "height")
"""The fields of a rectangle of Label Studio."""
Tool = Literal["labelstudio", "coco", "audit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidBox:
    """A box that a person left, moved, or drew."""

    id: str
    """As the tool has it: the label's own id, or one that the tool has made."""
    box: Box
    """xyxy in pixels of the stored image, clipped to it."""
    phrase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person says of one sample."""

    key: str
    groups: frozenset[str] = frozenset()
    """Groups of labels that are complete now."""
    boxes: list[SaidBox] = field(default_factory=list)
    """All boxes, if `regions` is among the groups."""
    texts: Mapping[str, list[str]] = field(default_factory=dict)
    """All texts of each granularity that is among the groups."""
    verdicts: Mapping[str, bool] = field(default_factory=dict)
    """Whether single labels are right, by their ids."""
    why: str = ""
    """Why the sample was picked; empty if the file does not say it."""
    reviewer: str = ""
    """Who says it; empty if the file does not say it."""


def tool_of(content: object, file: str) -> Tool:
    """Which program wrote a file.

    Raises:
        ValueError: none of those that are known.
    """
    if isinstance(content, list) and all(isinstance(each, dict) for each in content):
        return "labelstudio"
    if _has_lists(content, "images", "annotations"):
        return "coco"
    if _has_lists(content, "items"):
        return "audit"
    raise ValueError(
        f"{file}: give the JSON export of Label Studio, COCO's instances.json, or the file that an"
        " audit page saves"
    )


def _has_lists(content: object, *names: str) -> bool:
    """Whether content is a JSON object with lists of these names."""
    if not isinstance(content, Mapping):
        return False
    return all(isinstance(content.get(name), list) for name in names)


def round_of(content: object, tool: Tool) -> str:
    """The round (NN-FINGERPRINT) whose labels a file is about, empty if the file does not say."""
    if tool == "audit":
        url = _text_in(content, "round").rstrip("/")
        return url.rpartition("/")[2]
    if tool == "coco":
        return _text_in(cast(Json, content).get("info"), "round")
    for task in _entries(content, tool):
        named = _text_in(task.get("data"), "round")
        if named:
            return named
    return ""


def keys_of(content: object, tool: Tool) -> list[str]:
    """The keys of the samples that a file is about.

    Raises:
        ValueError: an entry does not name its sample.
    """
    keys = []
    for entry in _entries(content, tool):
        key = _key(entry, tool)
        if not key:
            shown = str(entry)[:100]
            raise ValueError(f"no sample is named by {shown}; is it of `fld review`?")
        keys.append(key)
    return keys


def answers_of(content: object, tool: Tool, records: Mapping[str, Record]) -> list[Answer]:
    """The answers in a file, at most one for each sample.

    Args:
        content: of the file.
        tool: which program wrote it.
        records: the reviewed records of the round by their keys.

    Raises:
        ValueError: something in it makes no sense.
    """
    if tool == "audit":
        return _of_audit(cast(Json, content))
    answers = []
    shapes = _shapes_of_coco(cast(Json, content)) if tool == "coco" else {}
    for entry in _entries(content, tool):
        key = _key(entry, tool)
        if tool == "coco":
            answer = _of_coco(entry, key, shapes, records[key])
        else:
            found = _of_label_studio(entry, key, records[key])
            if found is None:
                continue
            answer = found
        answers.append(answer)
    _check_once(answers)
    return answers


def _check_once(answers: Sequence[Answer]) -> None:
    """Check that there is one answer for each sample.

    Raises:
        ValueError: a sample has two.
    """
    keys = set[str]()
    for answer in answers:
        if answer.key in keys:
            raise ValueError(f"{answer.key}: two answers for one sample; leave one of them out")
        keys.add(answer.key)


def _entries(content: object, tool: Tool) -> Sequence[Json]:
    """The tasks, images or items of a file."""
    if tool == "labelstudio":
        return cast(Sequence[Json], content)
    entries: Sequence[Json] = cast(Json, content)["images" if tool == "coco" else "items"]
    return entries


def _key(entry: Json, tool: Tool) -> str:
    """The key of the sample of an entry, empty if it names none."""
    if tool == "labelstudio":
        return _text_in(entry.get("data"), "key")
    if "key" in entry:
        return str(entry["key"])
    # Other tools keep COCO's own fields only; the file is KEY.jpg.
    name = _text_in(entry, "file_name")
    _, _, file = name.rpartition("/")
    return file.partition(".")[0]


def _text_in(value: object, name: str) -> str:
    """A value of a JSON object as text; empty if it is no object, or has no such value."""
    return str(value.get(name, "")) if isinstance(value, Mapping) else ""


def _of_label_studio(task: Json, key: str, record: Record) -> Answer | None:
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
        why=_text_in(data, "pick"),
        reviewer=_reviewer(annotation),
    )


def _newest(annotations: Sequence[Json]) -> Json | None:
    """The annotation that was changed last, of those that are not cancelled; None if none is."""
    newest = None
    latest = ""
    for annotation in annotations:
        if annotation.get("was_cancelled"):
            continue
        changed = _text_in(annotation, "updated_at")
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
    id_ = _text_in(result, "id")
    if value.get("rotation") or result.get("image_rotation"):
        raise ValueError(f"{record.key}: the box {id_} is turned; draw it upright")
    if len(names) != 1:
        raise ValueError(f"{record.key}: the box {id_} needs one class, not {names}")
    where = f"{record.key}: the box {id_}"
    x, y, width, height = _four([value.get(name) for name in SIDES], where)
    across = record.width / 100
    down = record.height / 100
    box = (x * across, y * down, (x + width) * across, (y + height) * down)
    box = _inside(box, record)
    return SaidBox(id=id_, box=box, phrase=str(names[0]))


def _shapes_of_coco(content: Json) -> dict[object, list[tuple[Json, str]]]:
    """By the id of the image: each annotation with the name of its category.

    Raises:
        ValueError: a category is not listed.
    """
    names = {}
    for category in content.get("categories", []):
        names[category["id"]] = str(category["name"]).strip()
    shapes: dict[object, list[tuple[Json, str]]] = {}
    for entry in content["annotations"]:
        category_id = entry.get("category_id")
        if category_id not in names:
            raise ValueError(f"annotation {entry.get('id')}: no category {category_id}")
        shapes.setdefault(entry.get("image_id"), []).append((entry, names[category_id]))
    return shapes


def _of_coco(
    image: Json, key: str, shapes: Mapping[object, list[tuple[Json, str]]], record: Record
) -> Answer:
    """All boxes of an image. An image of the file counts as reviewed."""
    boxes = []
    for entry, phrase in shapes.get(image.get("id"), []):
        where = f"{key}: the annotation {_text_in(entry, 'id')}"
        if entry.get("iscrowd") == 1:
            raise ValueError(f"{where} is a crowd; a review takes single boxes only")
        left, top, width, height = _four(entry.get("bbox"), where)
        box = _inside((left, top, left + width, top + height), record)
        boxes.append(SaidBox(id=str(entry.get("id", "")), box=box, phrase=phrase))
    return Answer(key=key, groups=frozenset([REGIONS]), boxes=boxes, why=str(image.get("pick", "")))


def _of_audit(content: Json) -> list[Answer]:
    """The verdicts on single labels, those of one sample together.

    Raises:
        ValueError: a verdict is neither yes, no nor null.
    """
    verdicts: dict[str, dict[str, bool]] = {}
    for number, item in enumerate(content["items"]):
        verdict = item.get("verdict")
        if verdict not in (YES, NO, None):
            raise ValueError(f"items[{number}].verdict={verdict!r}: expected {YES!r}, {NO!r}, null")
        if verdict is not None:
            said = verdicts.setdefault(_text_in(item, "key"), {})
            said[_text_in(item, "id")] = verdict == YES
    return [Answer(key=key, verdicts=said) for key, said in verdicts.items()]


def _four(values: object, where: str) -> Box:
    """Left, top, width and height of a box.

    Raises:
        ValueError: they are not four numbers.
    """
    if isinstance(values, list) and len(values) == 4 and all(map(is_number, values)):
        return cast(Box, tuple(map(float, values)))
    raise ValueError(f"{where} has no left, top, width and height: {str(values)[:100]}")


def _inside(box: Box, record: Record) -> Box:
    """A box clipped to the image.

    Raises:
        ValueError: nothing of it is inside.
    """
    left = max(0.0, box[0])
    top = max(0.0, box[1])
    right = min(float(record.width), box[2])
    bottom = min(float(record.height), box[3])
    if left >= right or top >= bottom:
        raise ValueError(f"{record.key}: the box {box} has no area inside of the image")
    return (left, top, right, bottom)
