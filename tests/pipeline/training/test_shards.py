"""A training stops at a shard with other bytes than were stored, and names the sample."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from pipeline.errors import BrokenFiles
from pipeline.storage.store import Store
from pipeline.studies.data import DataConfig, obtain
from pipeline.training.data import TrainingSet
from pipeline.training.shards import read_shard
from stages.image_file import open_image


@pytest.fixture
def data(tmp_path: Path) -> TrainingSet:
    """Three scenes in one shard; what is read of it does not stay in memory for the next test."""
    read_shard.cache_clear()
    return obtain(Store(str(tmp_path)), DataConfig(scenes=3, seed=3))[0]


def tar_of(data: TrainingSet) -> Path:
    (shard,) = data.counts
    return Path(data.store.path(data.node.tar(shard)))


def read_all(data: TrainingSet) -> list[str]:
    (shard,) = data.counts
    return [data.read(shard, key).record.key for key in data.keys(shard)]


def flip_in_image(tar: bytearray, image: tarfile.TarInfo) -> bytearray:
    """Change a byte of the pixels; the image can still be decoded."""
    tar[image.offset_data + image.size // 2] ^= 0x55
    with open_image(bytes(tar[image.offset_data : image.offset_data + image.size])) as changed:
        changed.load()
    return tar


def flip_in_header(tar: bytearray, image: tarfile.TarInfo) -> bytearray:
    tar[image.offset] ^= 0x55
    return tar


def flip_in_record(tar: bytearray, image: tarfile.TarInfo) -> bytearray:
    """Change the first byte of the record, which is the next member."""
    begin = image.offset_data + image.size
    record = tar.index(b"{", begin)
    tar[record] ^= 0x55
    return tar


def cut(tar: bytearray, image: tarfile.TarInfo) -> bytearray:
    return tar[: image.offset_data + image.size // 2]


def cut_between(tar: bytearray, image: tarfile.TarInfo) -> bytearray:
    """Leave the sample before the image, whole."""
    return tar[: image.offset]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (flip_in_image, "scene_000001 has other bytes than were stored"),
        (flip_in_header, "scene_000001 is missing"),
        (flip_in_record, "scene_000001.json: Expecting value: line 1 column 1 (char 0)"),
        (cut, "it is no tar, or its end is cut off"),
        (cut_between, "it is no tar, or its end is cut off"),
    ],
)
def test_a_broken_shard_is_told_in_a_line_with_its_sample(
    data: TrainingSet, damage: Callable[[bytearray, tarfile.TarInfo], bytearray], told: str
) -> None:
    tar = tar_of(data)
    whole = bytearray(tar.read_bytes())
    with tarfile.open(fileobj=BytesIO(whole)) as members:
        image = members.getmember("scene_000001.jpg")
    tar.write_bytes(damage(whole, image))
    with pytest.raises(BrokenFiles) as caught:
        read_all(data)
    advice = "`fld verify --deep` withdraws it, and the next run makes it again"
    assert str(caught.value) == f"{tar}: {told}; {advice}"


def test_a_whole_shard_is_read(data: TrainingSet) -> None:
    assert read_all(data) == ["scene_000000", "scene_000001", "scene_000002"]
