"""Label Studio's tasks: `fld export labelstudio`, and what people review (`pipeline/review`).

    config.xml      the labelling interface: boxes, quads with their strings, a field for each text
    tasks.json      the tasks: machines' labels as predictions, human labels as annotations
    images/KEY.jpg  the stored images

Positions are percentages of the stored image. The id of a result is that of its label, which is
unique in its task; the texts of one granularity are one result. Start Label Studio with
LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and the folder as
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, or give `--prefix` with the URL at which the images lie.
Source of the format: https://labelstud.io/guide/predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from pipeline.release.export_folder import ExportFolder, json_items
from pipeline.release.exported import Export
from pipeline.rows import Record
from pipeline.schema import Annotation, Annotations, Region, Text, TextRegion

if TYPE_CHECKING:
    from pipeline.storage.json_types import Json

PREFIX = "/data/local-files/?d="
"""Where Label Studio serves the files of its document root."""
IMAGE, BOXES, QUADS, STRINGS = "image", "boxes", "quads", "strings"
"""The names of the parts of the interface; the fields of texts have the names in `TEXTS`."""
TEXTS = ("brief", "detailed", "more_detailed", "alt")
"""The fields of texts, one for each granularity."""
LABEL = "label"
"""The field of labels of whole images, where there are some."""
WRITING = "text"
"""The only label of quads."""
NO_CLASS = "object"
"""A label for boxes where there is no class at all: Label Studio wants one."""


def write_labelstudio(
    export: Export,
    folder: ExportFolder,
    classes: Sequence[str],
    prefix: str = PREFIX,
) -> dict[str, int]:
    """Write the files; returns how many tasks and labels they hold.

    Args:
        export: what is exported.
        folder: an empty folder.
        classes: the names of the classes, in their order.
        prefix: what stands before the path of an image in the folder.
    """
    labels = 0
    texts: tuple[str, ...] = TEXTS
    with json_items(folder.path / "tasks.json", "[", "]") as tasks:
        for sample in export.samples():
            export.leave_out(sample.record, "triplets", "masks")
            url = prefix + folder.add_image(sample, "images")
            if any(text.granularity == LABEL for text in sample.record.annotations.texts):
                texts = (*TEXTS, LABEL)
            tasks.add(task_of(sample.record, url, export.labelled.name))
            labels += len(sample.record.annotations) - len(sample.record.annotations.triplets)
    folder.write("config.xml", interface(classes, texts=texts))
    return {"tasks": tasks.count, "labels": labels}


def interface(
    classes: Sequence[str],
    quads: bool = True,
    texts: Sequence[str] = TEXTS,
) -> str:
    """The labelling interface for boxes, quads if wanted, and the named fields of texts."""
    lines = ["<View>", f'  <Image name="{IMAGE}" value="$image"/>']
    lines.append(f'  <RectangleLabels name="{BOXES}" toName="{IMAGE}">')
    for name in classes or [NO_CLASS]:
        lines.append(f"    <Label value={quoteattr(name)}/>")
    lines.append("  </RectangleLabels>")
    if quads:
        lines.append(f'  <PolygonLabels name="{QUADS}" toName="{IMAGE}">')
        lines.append(f'    <Label value="{WRITING}"/>')
        lines.append("  </PolygonLabels>")
        lines.append(
            f'  <TextArea name="{STRINGS}" toName="{IMAGE}" editable="true" perRegion="true"/>'
        )
    for name in texts:
        lines.append(f'  <Header value="{name}"/>')
        lines.append(f'  <TextArea name="{name}" toName="{IMAGE}" editable="true"/>')
    lines.append("</View>")
    return "\n".join(lines) + "\n"


def task_of(
    record: Record,
    url: str,
    version: str,
) -> Json:
    """The task of a sample: machines' labels as a prediction, human ones as an annotation.

    Args:
        record: with the labels that are shown.
        url: where Label Studio finds the image.
        version: the name of the round or release, which Label Studio shows at the prediction.
    """
    task: Json = {"data": data_of(record, url), "predictions": [], "annotations": []}
    human = record.annotations.where(_is_human)
    machine = record.annotations.where(_is_machine)
    if len(machine):
        results = results_of(machine, record)
        task["predictions"] = [{"model_version": version, "result": results}]
    if len(human):
        task["annotations"] = [{"result": results_of(human, record)}]
    return task


def data_of(record: Record, url: str) -> Json:
    """The data of a task."""
    return {"image": url, "key": record.key, "name": record.name}


def results_of(annotations: Annotations, record: Record) -> list[Json]:
    """The labels of a sample as Label Studio's results."""
    results = []
    for region in annotations.regions:
        results.append(_box(region, record))
    for text_region in annotations.text_regions:
        results += _quad(text_region, record)
    results += _texts(annotations.texts)
    return results


def _is_human(annotation: Annotation) -> bool:
    return annotation.locked


def _is_machine(annotation: Annotation) -> bool:
    return not annotation.locked


def _box(region: Region, record: Record) -> Json:
    left, top, right, bottom = region.box
    value = {
        "x": 100 * left / record.width,
        "y": 100 * top / record.height,
        "width": 100 * (right - left) / record.width,
        "height": 100 * (bottom - top) / record.height,
        "rotation": 0,
        "rectanglelabels": [region.phrase],
    }
    return {
        "id": region.id,
        "type": "rectanglelabels",
        "from_name": BOXES,
        **_grid(record),
        "value": value,
        **_score(region),
    }


def _quad(region: TextRegion, record: Record) -> list[Json]:
    """A quad and its string: two results with one id."""
    xs, ys = region.quad[::2], region.quad[1::2]
    points = []
    for x, y in zip(xs, ys, strict=True):
        points.append([100 * x / record.width, 100 * y / record.height])
    shape = {"points": points, "closed": True}
    common = {"id": region.id, **_grid(record), **_score(region)}
    return [
        {
            **common,
            "type": "polygonlabels",
            "from_name": QUADS,
            "value": {**shape, "polygonlabels": [WRITING]},
        },
        {
            **common,
            "type": "textarea",
            "from_name": STRINGS,
            "value": {**shape, "text": [region.text]},
        },
    ]


def _texts(texts: Iterable[Text]) -> list[Json]:
    """A result for each field of texts. Its id is that of the first text in it."""
    fields: dict[str, list[Text]] = {}
    for text in texts:
        fields.setdefault(text.granularity, []).append(text)
    results = []
    for name, members in fields.items():
        results.append(
            {
                "id": members[0].id,
                "type": "textarea",
                "from_name": name,
                "to_name": IMAGE,
                "value": {"text": [text.text for text in members]},
            }
        )
    return results


def _grid(record: Record) -> Json:
    """Of what image the percentages of a result are."""
    return {
        "to_name": IMAGE,
        "original_width": record.width,
        "original_height": record.height,
        "image_rotation": 0,
    }


def _score(annotation: Annotation) -> Json:
    score = annotation.score if annotation.confidence is None else annotation.confidence
    return {} if score is None else {"score": score}
