"""Images with the JSON export of Label Studio (`JSON`, not `JSON_MIN`): rectangles made by people.

The newest annotation of each task counts; one that was cancelled, and predictions of models, do
not. A task is found by the file name at the end of its `image`, a path, a URL or
`/data/local-files/?d=...`, to which Label Studio has put eight digits and a dash when the picture
was uploaded. It is read as `coco.py` reads a file of COCO. A turned rectangle comes in dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from stages.base import MAY_CHANGE
from stages.sources.coco import INSTANCES, CocoFile, CocoFiles, CocoSource
from stages.sources.coco_file import CocoContent, number_of, read_json
from stages.sources.labelstudio_file import Json, Rectangle, newest, objects, rectangle

UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
RECTANGLES = "rectanglelabels"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStudioConfig:
    """A corrected file redoes the shards whose labels changed; new tasks in it come in, too."""

    path: str
    """The folder of images, any fsspec URL."""

    tasks: str = field(metadata=MAY_CHANGE)
    """Label Studio's JSON export, any fsspec URL."""

    image: str = "image"
    """The entry of a task's `data` that names its picture."""

    annotations: Literal["labels", "truth"] = "labels"
    """Whether they enter the run as human labels, or are truth to measure against."""

    upright: bool | None = field(default=None, metadata=MAY_CHANGE)
    """As of the source `coco`: whether they were drawn on upright pictures; null: the sizes
    decide."""


class LabelStudioSource(CocoSource):
    """The images of the tasks."""

    gives: ClassVar[tuple[str, ...]] = ("regions",)
    listed_by: ClassVar[tuple[str, ...]] = ("tasks",)

    def __init__(self, config: LabelStudioConfig) -> None:
        where = f"source.tasks={config.tasks}"
        tasks = read_json(where, config.tasks)
        if not isinstance(tasks, list) or not objects(tasks):
            raise ValueError(f'{where}: expected a list of tasks, as the export "JSON" has it')
        content = coco_content(where, objects(tasks), config.image)
        files = CocoFiles(config.path, config.annotations, config.upright)
        self._begin(files, [CocoFile(where, INSTANCES, content)])


def coco_content(where: str, tasks: list[Json], image: str) -> CocoContent:
    """Tasks in COCO's form.

    Args:
        where: names the file, for messages.
        tasks: of the export.
        image: the entry of `data` that names the picture.

    Raises:
        ValueError: a task names no picture.
    """
    images: list[object] = []
    annotations: list[object] = []
    ids: dict[str, int] = {}
    for number, task in enumerate(tasks, 1):
        data = task.get("data")
        named = data.get(image) if isinstance(data, Mapping) else None
        if not isinstance(named, str) or not named:
            raise ValueError(
                f"{where}: task {task.get('id', number)} names no picture in data.{image}; set "
                "source.image to the entry that does"
            )
        annotation = newest(task.get("annotations")) or {}
        results = [
            result
            for result in objects(annotation.get("result"))
            if result.get("type") == RECTANGLES
        ]
        size = _size(results)
        images.append({"id": number, "file_name": file_of(named), **size})
        for result in results:
            annotations.append(_entry(rectangle(result), number, size, ids))
    categories: list[object] = [{"id": id_, "name": name} for name, id_ in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def file_of(image: str) -> str:
    """The file name in a path or URL of a task, without what an upload has put before it."""
    parts = urlsplit(image)
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    name = path.rpartition("/")[2] or path
    is_upload = "/upload/" in path
    return UPLOADED.sub("", name, count=1) if is_upload else name


def _size(results: list[Json]) -> dict[str, int]:
    """The width and height that the results state, in the names of COCO."""
    for result in results:
        width = number_of(result.get("original_width"))
        height = number_of(result.get("original_height"))
        if width and height:
            return {"width": width, "height": height}
    return {}


def _entry(
    drawn: Rectangle, image: int, size: Mapping[str, int], ids: dict[str, int]
) -> dict[str, object]:
    """A rectangle as an annotation of COCO; `ids` are those of the categories, and may grow."""
    box = drawn.box((size.get("width", 0), size.get("height", 0)))
    bbox = None
    if box is not None and not drawn.is_turned:
        bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    name = drawn.names[0] if len(drawn.names) == 1 else ""
    # Without a box or a class it comes in dropped, and says why.
    return {
        "image_id": image,
        "category_id": ids.setdefault(name, len(ids) + 1) if name else None,
        "bbox": bbox,
    }
