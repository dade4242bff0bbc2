"""`fld explain` of a key that is none: what was likely meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report.history import sample_history
from pipeline.rows import ImageRow
from pipeline.storage import layout
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store

NAMES = ("000000000626.jpg", "000000000208.jpg", "Flickr/kitten-a.jpg", "Flickr/kitten-b.jpg")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Images in two shards; the key is the last part of the name."""
    store = Store(str(tmp_path_factory.mktemp("work")))
    for number in range(2):
        names = NAMES[2 * number : 2 * number + 2]
        rows = [ImageRow(key=Path(name).stem, name=name) for name in names]
        table = layout.images_table(layout.shard_name(number))
        publish_table(store, table, ImageRow, rows)
    return store


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("626", "000000000626"),
        ("208.JPG", "000000000208"),
        ("kitten", "kitten-a or kitten-b"),
        ("flickr/kitten-b", "kitten-b"),
        ("kiten-b", "kitten-b or kitten-a"),
        ("00000000626", "000000000626"),
    ],
)
def test_the_nearest_keys_are_named(store: Store, typed: str, meant: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^{typed}: no such sample in .*; did you mean {meant}\?"
    ):
        sample_history(store, typed)


def test_where_nothing_is_near_the_place_of_all_keys_is_named(store: Store) -> None:
    with pytest.raises(ValueError, match=r"; keys and names stand in images/\*\.parquet$"):
        sample_history(store, "nobody")
