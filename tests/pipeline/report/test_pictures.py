from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report.pictures import drawn, read_pictures
from pipeline.report.views import PictureView
from pipeline.storage.images import read_image_bytes, read_images
from pipeline.storage.round_parts import RoundPart, publish_parts
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


def test_chance_draws_one_sample_of_each_equal_part() -> None:
    positions = drawn(1000, 10)
    assert [position // 100 for position in positions] == list(range(10))
    assert len({position % 100 for position in positions}) > 5
    assert positions == drawn(1000, 10)
    assert drawn(3, 200) == [0, 1, 2]
    assert drawn(0, 200) == drawn(5, 0) == []


def test_every_picture_has_its_own_image_and_labels(store: Store) -> None:
    found = pictures(store, 100)
    assert {view.key: view.image for view in found} == stored(store)
    assert len(found) == 7
    for view in found:
        (annotations,) = view.rounds.values()
        assert [text.text for text in annotations.texts] == [TEXT]


def test_named_samples_come_first_and_chance_fills_up(store: Store) -> None:
    head = read_head(store)
    assert head is not None
    everything = list(stored(store))
    parts = []
    for number in range(3):
        shard = f"shard-{number:06d}"
        keys = [row.key for row in read_images(store, shard)]
        part = RoundPart(
            shard=shard,
            samples=len(keys),
            labelled=0,
            first_key=min(keys),
            last_key=max(keys),
        )
        parts.append(part)
    publish_parts(store, head.folder, parts)

    def shown(limit: int, *keys: str) -> list[str]:
        return [view.key for view in read_pictures(store, [head.round], limit, keys)]

    last, first = everything[-1], everything[0]
    assert shown(2, last, first, everything[3]) == [first, last]
    assert shown(1, "gone", last) == [last]
    for limit in range(2, 8):
        found = shown(limit, last, first)
        assert len(set(found)) == limit and {first, last} <= set(found)
    assert shown(9, last) == everything
    assert shown(0, last) == []
