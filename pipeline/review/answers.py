"""What people say of samples, read from the files of Label Studio, of COCO, or of an audit page.

Every reader checks the file as a whole before anything is imported, so a file comes in whole or not
at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

from pipeline.quality.audit import NO, YES
from pipeline.review.labelstudio_answers import of_label_studio
from pipeline.review.picks import REGIONS
from pipeline.review.said import Answer, SaidBox, four, inside, text_in
from pipeline.rows import Record
from pipeline.storage.json_types import Json

Tool = Literal["labelstudio", "coco", "audit"]


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
        url = text_in(content, "round").rstrip("/")
        return url.rpartition("/")[2]
    if tool == "coco":
        return text_in(cast(Json, content).get("info"), "round")
    for task in _entries(content, tool):
        named = text_in(task.get("data"), "round")
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
            found = of_label_studio(entry, key, records[key])
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
        return text_in(entry.get("data"), "key")
    if "key" in entry:
        return str(entry["key"])
    # Other tools keep COCO's own fields only; the file is KEY.jpg.
    name = text_in(entry, "file_name")
    _, _, file = name.rpartition("/")
    return file.partition(".")[0]


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
        where = f"{key}: the annotation {text_in(entry, 'id')}"
        if entry.get("iscrowd") == 1:
            raise ValueError(f"{where} is a crowd; a review takes single boxes only")
        left, top, width, height = four(entry.get("bbox"), where)
        box = inside((left, top, left + width, top + height), record)
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
            said = verdicts.setdefault(text_in(item, "key"), {})
            said[text_in(item, "id")] = verdict == YES
    return [Answer(key=key, verdicts=said) for key, said in verdicts.items()]
