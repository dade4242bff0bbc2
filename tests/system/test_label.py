"""`fld label`: a folder of photos, with nothing in them that the detector knows."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.image_file import has_heif
from tests.stages.specialists.test_yolox import ROWS, constant_onnx
from tests.system.conftest import fld_here

pytestmark = pytest.mark.ray


@pytest.mark.usefixtures("local_ray")
def test_photos_without_a_label_are_not_accepted_and_a_heic_is_stored_as_png(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pillow_heif")
    assert has_heif()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    constant_onnx(tmp_path / "yolox.onnx", np.zeros((1, ROWS, 85)))
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 48), "grey").save(photos / "a.jpg")
    Image.new("RGB", (64, 48), "grey").save(photos / "b.heic")
    (photos / "c.jpg").write_bytes(b"no image")
    done = fld_here("label", "photos", "cluster.workers=1")
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    assert " empty " in table[1] and "accepted" not in done.stdout
    assert "failed: ingest: 1 of 3" in done.stdout or "not_an_image" in done.stdout
    out = tmp_path / "work/photos"
    assert f"report: {out}/report.html" in done.stdout
    assert table[-1] == f"coco: {out}/export/coco: 2 images, 0 boxes, 0 captions"
    (shard,) = out.glob("images/*.tar")
    with tarfile.open(shard) as tar:
        names = {name.rpartition(".")[2]: name for name in tar.getnames()}
        assert set(names) == {"jpg", "png"}
        stored = tar.extractfile(names["png"])
        assert stored is not None
        with Image.open(io.BytesIO(stored.read())) as image:
            assert (image.format, image.size) == ("PNG", (64, 48))
