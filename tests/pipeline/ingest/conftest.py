"""Two sources with the same file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.ingest.sources import Sources
from tests.stages.sources.forms import picture, pictures, write_coco, write_folder


@pytest.fixture
def two(tmp_path: Path) -> Sources:
    """A folder and COCO annotations of pictures with the same names."""
    images = pictures(3)
    write_folder(tmp_path / "photos", images)
    write_folder(tmp_path / "coco", {name: picture(9 + i) for i, name in enumerate(images)})
    listed = [
        {"id": 100 + i, "file_name": name, "width": 48, "height": 40}
        for i, name in enumerate(images)
    ]
    box = {"id": 7, "image_id": 101, "category_id": 1, "bbox": [4, 5, 10, 20]}
    categories = [{"id": 1, "name": "dog"}]
    write_coco(tmp_path / "instances.json", listed, [box], categories=categories)
    return {
        "photos": {"use": "folder", "path": tmp_path / "photos", "shard_size": 2},
        "coco": {
            "use": "coco",
            "path": tmp_path / "coco",
            "instances": tmp_path / "instances.json",
        },
    }
