"""The data of a training run: shards of scenes, as a bare folder and as a round."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.rows import IndexRow
from pipeline.schema import Annotations
from pipeline.storage.parquet import publish_table
from pipeline.storage.round_parts import publish_parts, round_part
from pipeline.storage.store import Store
from pipeline.studies.data import DataConfig, first, obtain, publish
from pipeline.training.data import TrainingSet
from pipeline.training.find import find_training_set
from stages.embedded.scenes import DEMO, render


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """12 samples in 3 shards, of which one sample has lost its only label."""
    store = Store(str(tmp_path_factory.mktemp("shards")))
    whole, _ = obtain(store, DataConfig(scenes=12, seed=3))
    (shard,) = whole.counts
    keys = whole.keys(shard)
    for number in range(3):
        samples = []
        for key in keys[4 * number : 4 * number + 4]:
            sample = whole.read(shard, key)
            samples.append((key, sample.image, sample.record.annotations))
        if number == 2:
            text = replace(samples[0][2].texts[0], dropped="too_many_objects")
            samples.append(("unlabelled", samples[0][1], Annotations(texts=[text])))
        publish(store, f"bare/part-{number}.tar", samples)
    return find_training_set(f"{store.url}/bare")[0]


def keys(
    data: TrainingSet, steps: int, *, start: int = 0, size: int = 5, rank: int = 0, ranks: int = 1
) -> list[list[str]]:
    batches = []
    for batch in islice(data.batches(start, size, 7, rank, ranks), steps):
        batches.append([sample.key for sample in batch])
    return batches


def keys_of(data: TrainingSet) -> dict[str, Sequence[str]]:
    return {shard: data.keys(shard) for shard in data.counts}


def test_an_epoch_shows_every_sample_once_and_the_next_in_another_order(data: TrainingSet) -> None:
    seen = [key for batch in keys(data, 8, size=3) for key in batch]
    assert len(data) == 12
    assert set(seen[:12]) == set(seen[12:]) and len(set(seen[:12])) == 12
    assert seen[:12] != seen[12:]


def test_a_run_that_resumes_at_a_step_sees_what_it_would_have_seen(data: TrainingSet) -> None:
    whole = keys(data, 9)
    for step in range(9):
        assert keys(data, 9 - step, start=step) == whole[step:]


def test_ranks_share_out_the_global_batch(data: TrainingSet) -> None:
    parts = [keys(data, 4, rank=rank, ranks=2) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == keys(data, 4)


def test_a_sample_comes_with_its_pixels_and_kept_labels(data: TrainingSet) -> None:
    sample = next(data.batches(0, 1, 0, 0, 1))[0]
    scene = render(DEMO, 3, int(sample.key.removeprefix("scene_")))
    assert sample.annotations == scene.truth and sample.size == (192, 192)
    assert np.abs(sample.pixels.astype(int) - scene.image).mean() < 6  # JPEG


def test_a_bare_folder_and_an_indexed_round_give_the_same_set(
    data: TrainingSet, tmp_path: Path
) -> None:
    work = Store(str(tmp_path))
    parts = []
    for shard in data.counts:
        work.publish(f"rounds/00-abc/shards/{shard}.tar", data.store.read(data.node.tar(shard)))
        rows = [_index_row(key, shard, 1) for key in data.keys(shard)]
        if shard == "part-2":
            rows.append(_index_row("unlabelled", shard, 0))
        publish_table(work, f"rounds/00-abc/index.parquet/{shard}.parquet", IndexRow, rows)
        parts.append(round_part(shard, rows))
    publish_parts(work, "rounds/00-abc", parts)
    work.publish_json("head.json", {"round": "00-abc", "model": None, "attempts": []})
    for url in (tmp_path, tmp_path / "rounds/00-abc"):
        found, _ = find_training_set(str(url))
        assert keys_of(found) == keys_of(data)
        assert keys(found, 3) == keys(data, 3)


def test_any_fsspec_url_can_be_read(data: TrainingSet) -> None:
    memory = Store("memory://somewhere/bare")
    for shard in data.counts:
        memory.publish(f"{shard}.tar", data.store.read(data.node.tar(shard)))
    assert keys(find_training_set("memory://somewhere/bare")[0], 3) == keys(data, 3)


def test_another_label_is_another_set(data: TrainingSet, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    sample = data.read("part-0", "scene_000000")
    marks = []
    for name, labels in (
        ("a", sample.record.annotations),
        ("b", Annotations(texts=sample.record.annotations.texts)),
    ):
        publish(store, f"{name}/part-0.tar", [("scene_000000", sample.image, labels)])
        marks.append(find_training_set(f"{store.url}/{name}")[1])
    assert marks[0] != marks[1]


def test_what_is_no_round_is_told_in_a_line(data: TrainingSet, tmp_path: Path) -> None:
    from pipeline.storage.tars import TarWriter

    with pytest.raises(ValueError, match="no shards there"):
        find_training_set(str(tmp_path))
    store = Store(str(tmp_path))
    for name, members in (
        ("foreign", {"jpg": b"", "txt": b"a dog"}),
        ("empty", {"json": _record("unlabelled")}),
    ):
        with store.publishing(f"{name}/a.tar") as sink:
            writer = TarWriter(sink)
            writer.write("unlabelled", members)
            writer.close()
    with pytest.raises(ValueError, match=r"unlabelled has no \.json"):
        find_training_set(f"{store.url}/foreign")
    with pytest.raises(ValueError, match="no labelled sample in 1 shards"):
        find_training_set(f"{store.url}/empty")


def test_the_first_samples_are_the_same_whatever_the_count(data: TrainingSet) -> None:
    some = {"part-0": data.keys("part-0"), "part-1": data.keys("part-1")[:1]}
    assert keys_of(first(data, 5)) == some
    assert keys_of(first(data, 0)) == keys_of(data)


def _record(key: str) -> bytes:
    return json.dumps(
        {"key": key, "name": key, "width": 9, "height": 9, "sha256": "", "annotations": {}}
    ).encode()


def _index_row(key: str, shard: str, texts: int) -> IndexRow:
    return IndexRow(
        key=key,
        shard=shard,
        image_offset=0,
        image_size=0,
        json_offset=0,
        json_size=0,
        width=192,
        height=192,
        texts=texts,
        regions=0,
        text_regions=0,
        triplets=0,
    )
