"""Rounds whose shards hold labels only, and share the images (`rounds.images: reference`)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.maintenance.verify import verify
from pipeline.refinement.copies import cost_of_copies
from pipeline.rows import ImageRow
from pipeline.storage.images import with_images
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Manifest, count_samples
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.rounds import open_round
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter, read_tar
from pipeline.training.data import TrainingSet
from pipeline.training.find import find_training_set
from tests.pipeline.release.rounds import make_round, write_scenes

SHARDS = ["shard-000000.tar", "shard-000001.tar"]


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Round 0 of the same six photos in two shards, made both ways: `copy` and `reference`."""
    folder = tmp_path_factory.mktemp("works")
    write_scenes(folder / "photos", 6)
    (folder / "photos" / "scene_000001.jpg").write_bytes(b"no image")
    for images in ("copy", "reference"):
        make_round(folder / images, folder / "photos", 3, f"rounds.images={images}")
    return folder


@pytest.fixture(scope="module")
def shared(works: Path) -> Path:
    return works / "reference"


def round_of(work: Path) -> Path:
    (folder,) = (work / "rounds").iterdir()
    return folder


def tars(folder: Path) -> list[str]:
    return [str(folder / name) for name in SHARDS]


def members(tar: str) -> list[tuple[str, list[str]]]:
    """The key and the extensions of each sample."""
    with open(tar, "rb") as file:
        return [(key, list(files)) for key, files in read_tar(file)]


def stored_images(work: Path) -> dict[str, str]:
    """sha256 of each image, by key."""
    found = {}
    for name in SHARDS:
        table = pq.read_table(work / "images" / name.replace(".tar", ".parquet"))
        for row in table.to_pylist():
            if row["failed"] is None:
                found[row["key"]] = row["sha256"]
    return found


def add_images(samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The code of README.md: webdataset's own recipe for columns that lie in other tars."""
    import webdataset

    url = ""
    for sample in samples:
        if sample["__url__"] != url:
            url = sample["__url__"]
            work, _, tar = url.partition("/rounds/")
            tar = f"{work}/images/{tar.rpartition('/')[2]}"
            images = iter(webdataset.WebDataset(tar, shardshuffle=False))
        image = next(images)
        assert image["__key__"] == sample["__key__"]
        yield {**image, **sample}


def test_a_round_that_shares_images_holds_records_in_their_order(shared: Path) -> None:
    for images, labels in zip(
        tars(shared / "images"), tars(round_of(shared) / "shards"), strict=True
    ):
        keys = [key for key, _ in members(images)]
        assert members(labels) == [(key, ["json"]) for key in keys] and keys
        assert Path(labels).stat().st_size < Path(images).stat().st_size


def test_labels_are_the_same_both_ways(works: Path) -> None:
    shared, copied = (
        list(open_round(str(works / images)).records()) for images in ("reference", "copy")
    )
    assert shared == copied and len(shared) == 5


def test_the_index_leads_to_the_image_in_the_tar_of_the_images(shared: Path) -> None:
    rows = pq.read_table(round_of(shared) / "index.parquet").to_pylist()
    found = {}
    for row in rows:
        image = (shared / "images" / f"{row['shard']}.tar").read_bytes()[row["image_offset"] :]
        text = (round_of(shared) / "shards" / f"{row['shard']}.tar").read_bytes()
        record = json.loads(text[row["json_offset"] :][: row["json_size"]])
        assert record["key"] == row["key"]
        found[row["key"]] = hashlib.sha256(image[: row["image_size"]]).hexdigest()
    assert found == stored_images(shared)


def test_webdataset_reads_labels_and_images_together(shared: Path) -> None:
    import webdataset

    labels = webdataset.WebDataset(tars(round_of(shared) / "shards"), shardshuffle=False)
    found = {}
    for sample in labels.compose(add_images):
        found[sample["__key__"]] = hashlib.sha256(sample["jpg"]).hexdigest()
        assert json.loads(sample["json"])["key"] == sample["__key__"]
    assert found == stored_images(shared)
    decoded = next(iter(labels.compose(add_images).decode("pil")))
    assert decoded["jpg"].size == (decoded["json"]["width"], decoded["json"]["height"])


def test_datasets_reads_labels_and_images_together(shared: Path, tmp_path: Path) -> None:
    import datasets

    def columns(folder: Path) -> Any:
        return datasets.load_dataset(
            "webdataset", data_files=tars(folder), split="train", cache_dir=str(tmp_path)
        )

    labels = columns(round_of(shared) / "shards").select_columns(["json"])
    both = datasets.concatenate_datasets([columns(shared / "images"), labels], axis=1)
    assert len(both) == 5
    for sample in both:
        assert sample["json"]["key"] == sample["__key__"]
        assert sample["jpg"].size == (sample["json"]["width"], sample["json"]["height"])


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_ray_data_reads_labels_and_images_together(shared: Path) -> None:
    import ray
    import webdataset

    def read_shard(row: dict[str, Any]) -> Iterable[dict[str, Any]]:
        samples: Any = webdataset.WebDataset(row["item"], shardshuffle=False).compose(add_images)
        return list(samples)

    found = {}
    for row in (
        ray.data.from_items(tars(round_of(shared) / "shards")).flat_map(read_shard).take_all()
    ):
        assert json.loads(row["json"])["key"] == row["__key__"]
        found[row["__key__"]] = hashlib.sha256(row["jpg"]).hexdigest()
    assert found == stored_images(shared)


def seen(data: TrainingSet) -> list[tuple[str, Any, np.ndarray]]:
    samples = []
    for shard in sorted(data.counts):
        for sample in data.samples(shard, data.keys(shard)):
            samples.append((sample.key, sample.annotations, sample.pixels))
    return samples


def test_a_training_sees_the_same_samples_both_ways(works: Path) -> None:
    expected = seen(find_training_set(str(works / "copy"))[0])
    assert len(expected) == 5
    shared = works / "reference"
    for url in (shared, round_of(shared), round_of(shared) / "shards"):
        found = seen(find_training_set(str(url))[0])
        for (key, labels, pixels), (other_key, other_labels, other_pixels) in zip(
            found, expected, strict=True
        ):
            assert (key, labels) == (other_key, other_labels)
            assert np.array_equal(pixels, other_pixels)


def test_an_image_is_found_by_its_key_also_when_others_have_come_before_it(shared: Path) -> None:
    tar = tars(round_of(shared) / "shards")[1]
    with open(tar, "rb") as file:
        samples = list(read_tar(file))[1:]
    keys = [key for key, _ in samples]
    store = Store(str(shared))
    found = {}
    for sample in with_images(store, "shard-000001", tar, samples):
        found[sample.key] = hashlib.sha256(sample.image).hexdigest()
    stored = stored_images(shared)
    assert found == {key: stored[key] for key in keys} and keys


def test_labels_far_from_their_images_are_told(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(round_of(shared) / "shards", tmp_path / "labels")
    data, _ = find_training_set(str(tmp_path / "labels"))
    with pytest.raises(ValueError, match="holds its image; give a round in its work folder"):
        seen(data)


def test_verify_finds_an_image_that_is_not_where_the_round_says(
    shared: Path, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(shared, tmp_path / "work"))
    store = Store(str(work))
    assert verify(store, deep=True).problems == []
    shard = "shard-000001"
    rows = read_table(store, f"{IMAGES}/{shard}.parquet", ImageRow)
    with open(work / IMAGES / f"{shard}.tar", "rb") as file:
        images = dict(read_tar(file))
    # Ingest makes the shard anew without its first image, so that the others move.
    with store.publishing(f"{IMAGES}/{shard}.tar") as sink:
        writer = TarWriter(sink)
        for number, row in enumerate(rows):
            if number == 0:
                rows[number] = ImageRow(key=row.key, name=row.name, failed="broken")
                continue
            (place,) = writer.write(row.key, images[row.key])
            rows[number] = replace(row, offset=place.offset)
        writer.close()
    table = publish_table(store, f"{IMAGES}/{shard}.parquet", ImageRow, rows)
    files = {f"{IMAGES}/{shard}.tar": sink.digest, f"{IMAGES}/{shard}.parquet": table}
    publish_images(store, shard, files, len(rows))
    problems = [(each.file, each.problem) for each in verify(store, deep=True).problems]
    tar = f"rounds/{round_of(work).name}/shards/{shard}.tar"
    assert problems == [(tar, "3 samples are not where the index says")]


def publish_images(store: Store, shard: str, files: dict[str, Any], samples: int) -> None:
    """Publish a manifest of images in place of the present one."""
    store.withdraw(IMAGES, {shard: ()})
    counts = count_samples(samples, [None] * (samples - 1) + ["broken"])
    store.publish_manifest(IMAGES, Manifest(shard=shard, inputs="aa", files=files, samples=counts))


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_verify_blames_the_images_for_a_broken_file_of_theirs(
    shared: Path, tmp_path: Path, suffix: str
) -> None:
    work = Path(shutil.copytree(shared, tmp_path / "work"))
    broken = f"images/shard-000000.{suffix}"
    for damage in (b"no file of this kind", None):
        if damage is None:
            (work / broken).unlink()
        else:
            (work / broken).write_bytes(damage)
        problems = verify(Store(str(work)), deep=True).problems
        assert [each.file for each in problems] == [broken]


def large_set(work: Path, images: int) -> Store:
    """A work folder with so many images of 100 kB in two shards, and one image that failed."""
    store = Store(str(work))
    for number, kept in enumerate((10, images - 10)):
        shard = f"shard-{number:06d}"
        outcomes: list[str | None] = [None] * kept
        outcomes += ["broken"] * number
        store.publish(f"{IMAGES}/{shard}.tar", b"")
        # The file has no blocks on the disk.
        os.truncate(store.path(f"{IMAGES}/{shard}.tar"), 100_000 * kept)
        samples = count_samples(len(outcomes), outcomes)
        manifest = Manifest(shard=shard, inputs="aa", files={}, samples=samples)
        store.publish_manifest(IMAGES, manifest)
    return store


def test_what_copies_cost_is_said_from_ten_thousand_images_on(tmp_path: Path) -> None:
    advice = "rounds.images=reference stores them once"
    folder = ["source=folder", f"source.path={tmp_path}"]
    run = parse(compose([*folder, "refine.rounds=0"]))
    assert cost_of_copies(large_set(tmp_path / "small", 9_999), run) == []
    large = large_set(tmp_path / "large", 10_000)
    assert cost_of_copies(large, run) == [
        f"rounds.images=copy: round 0 copies the 10,000 images (about 1.0 GB); {advice}"
    ]
    run = parse(compose([*folder, "refine.rounds=2"]))
    empty = Store(str(tmp_path / "empty"))
    assert cost_of_copies(empty, run, {"": ["photo.jpg"] * 12_345}) == [
        f"rounds.images=copy: each of up to 3 rounds copies the 12,345 images; {advice}"
    ]
    run = parse(compose([*folder, "refine.rounds=2", "rounds.images=reference"]))
    assert cost_of_copies(large, run) == []
