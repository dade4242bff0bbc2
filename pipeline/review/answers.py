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
    if isinstance(content, Mapping):
        if isinstance(content.get("images"), list) and isinstance(content.get("annotations"), list):
            return "coco"
        if isinstance(content.get("items"), list) and "round" in content:
            return "audit"
    raise ValueError(
        f"{file}: give the JSON export of Label Studio, COCO's instances.json, or the file that an"
        " audit page saves"
    )


def round_of(content: object, tool: Tool) -> str:
    """The round (NN-FINGERPRINT) whose labels a file is about, empty if the file does not say."""
    if tool == "audit":
        return str(cast(Json, content)["round"]).rstrip("/").rpartition("/")[2]
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
            raise ValueError(f"no sample is named by {str(entry)[:100]}; is it of `fld review`?")
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
    return answers


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
    name = str(entry.get("file_name", "")).rpartition("/")[2]
    return name.partition(".")[0]


def _text_in(value: object, name: str) -> str:
    """A value of a JSON object as text; empty if it is no object, or has no such value."""
    return str(value.get(name, "")) if isinstance(value, Mapping) else ""


def _of_label_studio(task: Json, key: str, record: Record) -> Answer | None:
    """The newest annotation of a task, None if nobody has submitted one."""
    submitted = [each for each in task.get("annotations", []) if not each.get("was_cancelled")]
    if not submitted:
        return None
    annotation = max(submitted, key=lambda each: str(each.get("updated_at", "")))
    data = task["data"]
    groups = frozenset(data.get("groups", [REGIONS]))
    boxes = []
    texts: dict[str, list[str]] = {group: [] for group in groups if group in TEXTS}
    for result in annotation.get("result", []):
        if result.get("from_name") == BOXES:
            boxes.append(_percent_box(result, record))
        elif result.get("from_name") in texts:
            texts[result["from_name"]] += [str(text) for text in result["value"]["text"]]
    who = annotation.get("completed_by", "")
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id", "")
    return Answer(
        key=key,
        groups=groups,
        boxes=boxes,
        texts=texts,
        why=str(data.get("pick", "")),
        reviewer=str(who),
    )


def _percent_box(result: Json, record: Record) -> SaidBox:
    """A rectangle of Label Studio.

    Raises:
        ValueError: it is turned, has no class, or lies outside of the image.
    """
    value = result.get("value", {})
    names = value.get("rectanglelabels") or []
    if value.get("rotation") or result.get("image_rotation"):
        raise ValueError(f"{record.key}: the box {result.get('id')} is turned; draw it upright")
    if len(names) != 1:
        raise ValueError(f"{record.key}: the box {result.get('id')} needs one class, not {names}")
    left = value["x"] / 100 * record.width
    top = value["y"] / 100 * record.height
    right = left + value["width"] / 100 * record.width
    bottom = top + value["height"] / 100 * record.height
    box = _inside((left, top, right, bottom), record)
    return SaidBox(id=str(result.get("id", "")), box=box, phrase=str(names[0]))


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
        left, top, width, height = entry["bbox"]
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
            verdicts.setdefault(str(item["key"]), {})[str(item["id"])] = verdict == YES
    return [Answer(key=key, verdicts=said) for key, said in verdicts.items()]


def _inside(box: Box, record: Record) -> Box:
    """A box clipped to the image.

    Raises:
        ValueError: nothing of it is inside.
    """
    left, top, right, bottom = box
    clipped = (
        max(0.0, left),
        max(0.0, top),
        min(float(record.width), right),
        min(float(record.height), bottom),
    )
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise ValueError(f"{record.key}: the box {box} has no area inside of the image")
    return clipped
