from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report.pictures import read_pictures, spread
from pipeline.report.views import PictureView
from pipeline.storage.images import read_image_bytes, read_images
from pipeline.storage.rounds import read_head
from pipeline.storage.store import Store
from tests.pipeline.release.rounds import TEXT, make_round, write_scenes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """7 scenes in shards of 3; the second of 8 files is no image."""
    folder = tmp_path_factory.mktemp("work")
    write_scenes(folder / "images", 7)
    first = min((folder / "images").iterdir())
    Path(first.parent, first.stem + "-broken.png").write_text("no image")
    make_round(folder / "work", folder / "images", shard_size=3)
    return Store(str(folder / "work"))


def pictures(store: Store, limit: int) -> list[PictureView]:
    head = read_head(store)
    assert head is not None
    return read_pictures(store, [head.round], limit)


def stored(store: Store) -> dict[str, bytes]:
    images = {}
    for number in range(3):
        shard = f"shard-{number:06d}"
        keys = [row.key for row in read_images(store, shard)]
        images.update(zip(keys, read_image_bytes(store, shard), strict=True))
    return images


def test_samples_are_spread_over_the_whole_set() -> None:
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(31, 16)[-1] == 29
    assert spread(3, 200) == [0, 1, 2]
    assert spread(0, 200) == spread(5, 0) == []


def test_every_picture_has_its_own_image_and_labels(store: Store) -> None:
    found = pictures(store, 100)
    assert {view.key: view.image for view in found} == stored(store)
    assert len(found) == 7
    for view in found:
        (annotations,) = view.rounds.values()
        assert [text.text for text in annotations.texts] == [TEXT]


def test_few_samples_come_from_all_shards(store: Store) -> None:
    everything = list(stored(store))
    found = [view.key for view in pictures(store, 3)]
    assert found == [everything[0], everything[2], everything[4]]
    assert pictures(store, 0) == []
