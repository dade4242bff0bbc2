"""Boxes in FiftyOne's own layout, `FiftyOneImageDetectionDataset`: `fld export fiftyone`.

    data/KEY.jpg    the stored images
    labels.json     the boxes of each image, by its key: left, top, width, height as shares

Read it by `fiftyone.Dataset.from_dir(dataset_dir=FOLDER, dataset_type=TYPE)`, where TYPE is
`fiftyone.types.FiftyOneImageDetectionDataset`. Without a list `classes` in the file, FiftyOne takes
each label as the name of its class. The source, the brief text and `label_id`, the id of the label,
are attributes. They must not be called `id`: FiftyOne has a field of that name, which takes numbers
of MongoDB only. Source of the format: https://docs.voxel51.com/user_guide/import_datasets.html and
`FiftyOneImageDetectionDatasetImporter` in fiftyone/utils/data/importers.py.
"""

from __future__ import annotations

from pipeline.release.export_folder import ExportFolder, json_items
from pipeline.release.exported import Export, kinds_but
from pipeline.rows import Record
from pipeline.schema import Region


def write_fiftyone(export: Export, folder: ExportFolder) -> dict[str, int]:
    """Write the files into an empty folder; returns how many images and boxes they hold."""
    boxes = 0
    with json_items(folder.path / "labels.json", '{"labels": {', "}}") as labels:
        for sample in export.samples():
            export.leave_out(sample.record, *kinds_but("regions"), "masks")
            folder.add_image(sample, "data")
            record = sample.record
            detections = [_detection(region, record) for region in record.annotations.regions]
            labels.add(detections, record.key)
            boxes += len(detections)
    return {"images": labels.count, "boxes": boxes}


def _detection(region: Region, record: Record) -> dict[str, object]:
    """A box as FiftyOne has it."""
    left, top, right, bottom = region.box
    attributes = {"label_id": region.id, "source": region.source}
    if region.brief:
        attributes["brief"] = region.brief
    detection: dict[str, object] = {
        "label": region.phrase,
        "bounding_box": [
            left / record.width,
            top / record.height,
            (right - left) / record.width,
            (bottom - top) / record.height,
        ],
        "attributes": attributes,
    }
    score = region.score if region.confidence is None else region.confidence
    if score is not None:
        detection["confidence"] = score
    return detection
