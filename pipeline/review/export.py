"""`fld review export`: the picked samples as Label Studio's tasks and as COCO.

    tasks.json, config.xml      for Label Studio: kept boxes, and texts if wanted, as predictions
    instances.json              the same boxes for tools that read COCO
    images/KEY.jpg              the stored images; COCO's `file_name` is KEY.jpg
    picks.json                  the picks, why each was picked, and the measure

Each task names the round, its key, why it was picked, and which groups of labels are reviewed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from pipeline.quality.doubt import MEASURE
from pipeline.quality.reviewed import group_of
from pipeline.release.coco import coco_of
from pipeline.release.config import TRAIN
from pipeline.release.export_folder import ExportFolder, json_items
from pipeline.release.exported import Export, ExportSample, LabelledRound, Part
from pipeline.release.ids import Numbering
from pipeline.release.labelstudio import TEXTS, data_of, interface, results_of
from pipeline.review.picks import Pick
from pipeline.rows import Record
from pipeline.schema import Annotation
from pipeline.storage.json_types import Json
from pipeline.storage.rounds import OpenRound


def write_review(
    opened: OpenRound,
    folder: ExportFolder,
    picks: Sequence[Pick],
    numbering: Numbering,
    groups: Sequence[str],
    prefix: str,
) -> int:
    """Write the files into an empty folder; returns how many labels they hold.

    Args:
        opened: the round.
        folder: an empty folder.
        picks: the samples.
        numbering: the categories of COCO, which are also the classes of the interface.
        groups: what is reviewed: regions, and granularities of texts.
        prefix: what stands before the path of an image in the folder, for Label Studio.
    """
    by_key = {each.key: each for each in picks}
    named: list[Record] = []
    labels = 0
    with json_items(folder.path / "tasks.json", "[", "]") as tasks:
        for sample in _picked(opened, by_key):
            record = _shown(sample.record, groups)
            url = prefix + folder.add_image(sample, "images")
            data = {**data_of(record, url), "round": opened.name}
            data["pick"] = by_key[record.key].why
            data["groups"] = list(groups)
            tasks.add(_task(record, data))
            named.append(replace(record, name=sample.file))
            labels += len(record.annotations)
    classes = [str(category["name"]) for category in numbering.table.all()]
    texts = [group for group in groups if group in TEXTS]
    folder.write("config.xml", interface(list(dict.fromkeys(classes)), False, texts))
    folder.write("instances.json", json.dumps(_coco(opened, named, numbering, by_key)))
    content = {"round": opened.name, "measure": MEASURE, "groups": list(groups)}
    listed = [asdict(each) for each in picks]
    folder.write("picks.json", json.dumps({**content, "picks": listed}, indent=1))
    return labels


def _picked(opened: OpenRound, picks: Mapping[str, Pick]) -> Iterator[ExportSample]:
    """The picked samples with their images. No image of a shard without one is read."""
    export = Export(LabelledRound(opened))
    for shard in opened.shards():
        keys = {record.key for record in opened.read(shard)}
        if keys.isdisjoint(picks):
            continue
        for sample in export.samples(Part(TRAIN, shard)):
            if sample.record.key in picks:
                yield sample


def _shown(record: Record, groups: Sequence[str]) -> Record:
    """A record with the labels that are reviewed."""

    def is_reviewed(label: Annotation) -> bool:
        return group_of(label) in groups

    return replace(record, annotations=record.annotations.where(is_reviewed))


def _task(record: Record, data: Json) -> Json:
    """A task whose prediction has all labels, human ones too: the reviewer sees them together."""
    results = results_of(record.annotations, record)
    predictions = []
    if results:
        predictions.append({"model_version": data["round"], "result": results})
    return {"data": data, "predictions": predictions}


def _coco(
    opened: OpenRound, records: Sequence[Record], numbering: Numbering, picks: Mapping[str, Pick]
) -> Json:
    """`instances.json`, in which each image says why it was picked."""
    about = f"Boxes of round {opened.name} to review."
    content: Json = dict(coco_of(records, (), numbering, about).instances)
    content["info"] = {**content["info"], "round": opened.name}
    images = []
    for image, record in zip(content["images"], records, strict=True):
        images.append({**image, "key": record.key, "pick": picks[record.key].why})
    content["images"] = images
    return content
