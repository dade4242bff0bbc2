"""Images, boxes and texts as Parquet files for `datasets`: `fld export parquet`.

    data/SPLIT-00000-of-00003.parquet   the samples of a shard, a row each

`datasets.load_dataset("FOLDER")` reads them. The columns are those of the objects tables of a
release (`ObjectsRow`) and `image`, which `datasets` decodes. Boxes are x, y, width and height in
pixels of this image.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from pipeline.release.export_folder import ExportFolder
from pipeline.release.exported import Export, ExportSample
from pipeline.release.tables import ObjectsRow, objects_row

if TYPE_CHECKING:
    import pyarrow as pa

# Samples whose images are in memory at a time: a row group.
ROWS = 64
# Of `datasets`: which columns are more than their Arrow type says.
METADATA = {"info": {"features": {"image": {"_type": "Image"}}}}


def write_parquet(export: Export, folder: ExportFolder) -> dict[str, int]:
    """Write the files into an empty folder; returns how many images, boxes and texts they hold."""
    parts = export.labelled.parts()
    totals = Counter(part.split for part in parts)
    numbers: Counter[str] = Counter()
    written = Counter[str](images=0, boxes=0, texts=0)
    for part in parts:
        number = numbers[part.split]
        numbers[part.split] += 1
        name = f"data/{part.split}-{number:05d}-of-{totals[part.split]:05d}.parquet"
        for samples in _write(export.samples(part), folder, name):
            for sample in samples:
                export.leave_out(
                    sample.record,
                    "text_regions",
                    "triplets",
                    "masks",
                )
                labels = sample.record.annotations
                written["images"] += 1
                written["boxes"] += len(labels.regions)
                written["texts"] += len(labels.texts)
    return dict(written)


def _write(
    samples: Iterator[ExportSample],
    folder: ExportFolder,
    name: str,
) -> Iterator[Sequence[ExportSample]]:
    """Write a file row group by row group; yields the samples of each once it is written."""
    import pyarrow.parquet as pq

    path = folder.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, _schema(), compression="zstd") as writer:
        while rows := list(islice(samples, ROWS)):
            writer.write_table(_table(rows))
            yield rows


def _schema() -> pa.Schema:
    import pyarrow as pa

    from pipeline.storage.arrow import arrow_schema

    image = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    schema = pa.schema([image, *arrow_schema(ObjectsRow)])
    return schema.with_metadata({"huggingface": json.dumps(METADATA)})


def _table(samples: Sequence[ExportSample]) -> pa.Table:
    """The rows of some samples."""
    import pyarrow as pa

    from pipeline.storage.arrow import to_dict

    rows = []
    for sample in samples:
        image = {"bytes": sample.picture.data, "path": sample.file}
        rows.append({"image": image, **to_dict(objects_row(sample.record))})
    return pa.Table.from_pylist(rows, schema=_schema())
