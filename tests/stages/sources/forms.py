"""The same pictures in every form that a source reads, written as the usual tools write them.

python -m tests.stages.sources.forms FOLDER_OF_JPEGS OUT [PER_SHARD]
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

Pictures = Mapping[str, bytes]  # file name -> content


def picture(
    seed: int, size: tuple[int, int] = (48, 40), kind: str = "JPEG", **options: Any
) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return encoded(Image.fromarray(pixels).resize(size), kind, **options)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pictures(count: int) -> dict[str, bytes]:
    return {f"{i:012d}.jpg": picture(i) for i in range(count)}


def write_folder(folder: Path, images: Pictures) -> Path:
    folder.mkdir(parents=True)
    for name, data in images.items():
        (folder / name).write_bytes(data)
    return folder


def write_webdataset(
    folder: Path, images: Pictures, per_tar: int, texts: Mapping[str, str] | None = None
) -> Path:
    folder.mkdir(parents=True)
    with webdataset.ShardWriter(str(folder / "%05d.tar"), maxcount=per_tar, verbose=0) as writer:
        for name, data in images.items():
            text = {"txt": texts[name]} if texts and name in texts else {}
            writer.write({"__key__": name.removesuffix(".jpg"), "jpg": data, **text})
    return folder


def write_img2dataset(
    folder: Path, images: Pictures, per_tar: int, failed: Mapping[str, str] | None = None
) -> Path:
    """Tars and their tables; `failed` are keys of the first tar with their error messages."""
    write_webdataset(folder, images, per_tar)
    names = list(images)
    for number, start in enumerate(range(0, len(names), per_tar)):
        rows = [
            _row(name.removesuffix(".jpg"), "success", None)
            for name in names[start : start + per_tar]
        ]
        if number == 0:
            rows += [
                _row(key, "failed_to_download", message) for key, message in (failed or {}).items()
            ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{number:05d}.parquet")
    return folder


def _row(key: str, status: str, message: str | None) -> dict[str, str | None]:
    url = f"http://example.com/{key}.jpg"
    return {"url": url, "caption": None, "key": key, "status": status, "error_message": message}


def write_parquet(
    file: Path, images: Pictures, per_group: int, texts: Mapping[str, Sequence[str]] | None = None
) -> Path:
    """As `datasets` does: a struct of bytes and path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"image": {"bytes": data, "path": name}, "caption": list((texts or {}).get(name, ()))}
        for name, data in images.items()
    ]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("caption", pa.list_(pa.string()))])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, row_group_size=per_group)
    return file


def broken_string(content: bytes) -> pa.Array:
    """A column of one string that need not be UTF-8."""
    offsets = pa.array([0, len(content)], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(content)])


def write_coco(
    file: Path, images: Sequence[Mapping[str, Any]], annotations: Sequence[Any], **more: Any
) -> Path:
    file.write_text(json.dumps({"images": list(images), "annotations": list(annotations), **more}))
    return file


def write_forms(folder: Path, images: Pictures, per_shard: int) -> None:
    """All forms, beside each other; the COCO file has no annotations."""
    write_folder(folder / "folder", images)
    write_webdataset(folder / "webdataset", images, per_shard)
    write_img2dataset(folder / "img2dataset", images, per_shard)
    write_parquet(folder / "train.parquet", images, per_shard)
    listed = [{"id": i, "file_name": name} for i, name in enumerate(images)]
    write_coco(folder / "instances.json", listed, [], categories=[])


if __name__ == "__main__":
    found = {path.name: path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.jpg"))}
    write_forms(Path(sys.argv[2]), found, int(sys.argv[3]) if len(sys.argv) > 3 else 20)
