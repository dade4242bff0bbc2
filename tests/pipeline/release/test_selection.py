"""Which samples are released, and in which split."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

from pipeline.release.config import parse
from pipeline.release.lists import keys_of_urls
from pipeline.release.split import PLACES, cuts_of, place_of
from pipeline.release.verify import verify
from pipeline.storage.lists import entries_of
from tests.pipeline.release.rounds import make_round, released
from tests.stages.test_dedup import data, photo

NAMED = ["name=photos", "version=1.10", "sources.folder.licence=CC-BY-4.0"]


def test_every_source_is_split_by_the_shares_and_no_sample_moves_when_others_go() -> None:
    rng = np.random.default_rng(0)
    small = np.bincount(rng.integers(0, PLACES, 40), minlength=PLACES)
    large = np.bincount(rng.integers(0, PLACES, 10_000), minlength=PLACES)
    for samples, tolerance in ((small, 0.5), (large, 1)):
        cuts = cuts_of(samples, {"test": 0.1, "validation": 0.25})
        assert cuts.splits == ("test", "validation", "train")
        counts = dict.fromkeys(cuts.splits, 0)
        for place in np.repeat(np.arange(PLACES), samples).tolist():
            counts[cuts.split_of(place)] += 1
        total = samples.sum()
        assert abs(counts["test"] - 0.1 * total) <= tolerance
        assert abs(counts["train"] - 0.65 * total) <= tolerance


def test_a_place_depends_on_key_and_seed_alone() -> None:
    expected = int(hashlib.sha256(b"split/7/dog").hexdigest()[:4], 16)
    assert place_of("dog", 7) == expected


def test_without_shares_everything_is_train() -> None:
    cuts = cuts_of(np.ones(PLACES, np.int64), {})
    assert {cuts.split_of(0), cuts.split_of(PLACES - 1)} == {"train"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("splits.train=0.5", "splits.train: train is what the other splits leave"),
        ("splits.Test=0.5", "splits.Test: use small letters"),
        ("name=a/b", "name=a/b: use letters"),
        ("version=../1", "version=../1: use letters"),
        ("splits.test=1.5", "splits.test=1.5: it must be less than or equal to 1"),
        ("tekedown=[x]", "tekedown: no such setting; did you mean takedown?"),
        ("min_precision.boxes=1", "min_precision.boxes"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?").replace("[", r"\[")):
        parse([*NAMED, setting])


def test_texts_are_taken_as_they_are_typed() -> None:
    config = parse([*NAMED, "date=2026-11-30", "title=Boxes: all of them"])
    assert (config.version, config.date) == ("1.10", "2026-11-30")
    assert config.title == "Boxes: all of them"


def test_one_file_may_stand_for_a_list() -> None:
    config = parse([*NAMED, "takedown=a b.txt", "evaluation=[x, y]"])
    assert (config.takedown, config.evaluation) == (("a b.txt",), ("x", "y"))


def test_entries_of_a_list_are_told_apart() -> None:
    found = entries_of(["a" * 64, "phash:00FF00FF00FF00FF", "https://x.org/1.jpg", "key"])
    assert found.sha256 == {"a" * 64} and found.phashes == {"00ff00ff00ff00ff"}
    assert found.names == {"https://x.org/1.jpg", "key"}


def test_urls_are_found_in_the_tables_of_img2dataset(tmp_path: Path) -> None:
    table = pa.table({"key": ["0001", "0002"], "url": ["https://x.org/1", "https://x.org/2"]})
    pq.write_table(table, tmp_path / "t.parquet")
    wanted = frozenset({"https://x.org/2", "https://x.org/3"})
    assert keys_of_urls([str(tmp_path / "t.parquet")], wanted) == {"0002": "https://x.org/2"}
    with pytest.raises(ValueError, match="give a Parquet table with key and url"):
        keys_of_urls([str(tmp_path)], wanted)


# Photos, copies of them, evaluation images and takedowns, in one work folder.

ORIGINALS = 16


def half(image: Image.Image) -> bytes:
    return data(image.resize((160, 130)))


def compressed(image: Image.Image) -> bytes:
    return data(image, "JPEG", quality=30)


def cropped(image: Image.Image) -> bytes:
    return data(image.crop((4, 3, 316, 237)))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `images`, `work` and `evaluation`.

    photo00 to photo15 are different. 00 to 03 have an exact copy, 04 to 06 a near one.
    """
    top = tmp_path_factory.mktemp("planted")
    images, evaluation = top / "images", top / "evaluation"
    images.mkdir()
    evaluation.mkdir()
    for number in range(ORIGINALS):
        image = photo(number)
        (images / f"photo{number:02}.png").write_bytes(data(image))
        if number < 4:
            (images / f"z_exact{number:02}.png").write_bytes(data(image))
        if number in (8, 9):
            blurred = image.filter(ImageFilter.GaussianBlur(1.5))
            (evaluation / f"eval{number}.png").write_bytes(data(blurred))
    for number, change in ((4, half), (5, compressed), (6, cropped)):
        (images / f"z_near{number:02}.png").write_bytes(change(photo(number)))
    (evaluation / "other.png").write_bytes(data(photo(200)))
    make_round(top / "work", images, shard_size=5)
    return top


def release(planted: Path, tmp_path: Path, *settings: str) -> Path:
    """A release of the planted photos; each test gives it a name of its own."""
    return released(planted / "work", f"name={tmp_path.name}", *settings)


def samples(folder: Path) -> dict[str, str]:
    """The split of each released sample, by its name without the extension."""
    found = {}
    for path in (folder / "index").rglob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            found[row["name"].partition(".")[0]] = row["split"]
    return found


def removed(folder: Path) -> dict[str, str]:
    """Why each sample is not released, by the beginning of its key."""
    found = {}
    for path in (folder / "removed").glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            if row["type"] == "sample":
                found[row["key"].partition("-")[0]] = row["reason"]
    return found


def is_whole(folder: Path) -> bool:
    return not verify(str(folder), lambda done, total: None).findings


def test_exact_and_near_copies_are_removed_and_nothing_else(planted: Path, tmp_path: Path) -> None:
    folder = release(planted, tmp_path)
    found = removed(folder)
    assert set(found.values()) == {"duplicate"} and len(found) == 7
    kept = samples(folder)
    for number in range(4):
        assert (f"photo{number:02}" in kept) != (f"z_exact{number:02}" in kept)
    assert {"z_near04", "z_near05", "z_near06"}.isdisjoint(kept)
    assert len(kept) == ORIGINALS and is_whole(folder)


def test_kept_copies_are_in_one_split(planted: Path, tmp_path: Path) -> None:
    folder = release(planted, tmp_path, "duplicates=keep", "splits.test=0.5")
    split = samples(folder)
    assert len(split) == ORIGINALS + 7 and set(split.values()) == {"test", "train"}
    for name in split:
        if name.startswith("z_"):
            assert split[name] == split[f"photo{name[-2:]}"]
    assert is_whole(folder)


def test_evaluation_images_are_found_though_they_are_blurred(planted: Path, tmp_path: Path) -> None:
    folder = release(planted, tmp_path, f"evaluation=[{planted / 'evaluation'}]")
    found = removed(folder)
    assert {name for name, reason in found.items() if reason == "evaluation_image"} == {
        "photo08",
        "photo09",
    }
    assert (
        "Copies of the 3 images of the evaluation set `evaluation`."
        in (folder / "README.md").read_text()
    )


def test_an_evaluation_set_may_be_a_list_of_hashes_or_paths(planted: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    copied = (planted / "images/photo10.png").read_bytes()
    (tmp_path / "copy.png").write_bytes((planted / "images/photo11.png").read_bytes())
    listed.write_text(f"# known\n{hashlib.sha256(copied).hexdigest()}\ncopy.png\n")
    folder = release(planted, tmp_path, f"evaluation=[{listed}]")
    reasons = removed(folder)
    assert {name for name in reasons if reasons[name] == "evaluation_image"} == {
        "photo10",
        "photo11",
    }
    with pytest.raises(ValueError, match="no images there; give a folder or a list"):
        (tmp_path / "empty").mkdir()
        release(planted, tmp_path, "version=2", f"evaluation=[{tmp_path / 'empty'}]")


def test_a_takedown_removes_the_image_and_no_copy_takes_its_place(
    planted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = release(planted, tmp_path)
    original = photo(7)
    file = io.BytesIO()
    original.resize((100, 75)).save(file, "JPEG")
    import imagehash

    entries = [
        "photo12.png",  # by its name
        hashlib.sha256((planted / "images/photo13.png").read_bytes()).hexdigest(),
        f"phash:{imagehash.phash(Image.open(file))}",  # photo07, from a small copy
        "photo04.png",  # it has a near copy
        "https://example.org/gone.jpg",  # no sample has it
    ]
    takedown = tmp_path / "takedown.txt"
    takedown.write_text("\n".join(entries))
    after = release(planted, tmp_path, "version=1.1.0", f"takedown=[{takedown}]")
    gone = {"photo12", "photo13", "photo07", "photo04"}
    reasons = removed(after)
    assert {name for name in reasons if reasons[name] == "takedown"} == gone
    assert reasons["z_near04"] == "duplicate"
    assert samples(before).keys() - samples(after).keys() == gone
    assert "1 entries fit no sample, such as https://example.org/gone.jpg" in caplog.text
    shards = {path.name for path in changed(before, after)}
    assert shards == {f"shard-{number:06}.tar" for number in shards_of(before, gone)}


def changed(before: Path, after: Path) -> list[Path]:
    """The tars whose bytes differ between two releases."""
    found = []
    for path in (before / "shards").rglob("*.tar"):
        if (after / path.relative_to(before)).read_bytes() != path.read_bytes():
            found.append(path)
    return found


def shards_of(folder: Path, names: set[str]) -> set[int]:
    """The numbers of the shards in which some samples lie."""
    found = set()
    for path in (folder / "index").rglob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            if row["name"].partition(".")[0] in names:
                found.add(int(row["shard"][-6:]))
    return found


def test_a_takedown_of_a_copy_removes_the_image_that_was_kept(
    planted: Path, tmp_path: Path
) -> None:
    takedown = tmp_path / "takedown.txt"
    takedown.write_text("z_near05.png\n")
    for version, duplicates in (("1", "remove"), ("2", "keep")):
        folder = release(
            planted,
            tmp_path,
            f"version={version}",
            f"takedown=[{takedown}]",
            f"duplicates={duplicates}",
        )
        assert removed(folder)["photo05"] == removed(folder)["z_near05"] == "takedown"


def test_lists_decide_splits_also_for_copies(planted: Path, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("photo15.png\nz_near06.png\n")
    (tmp_path / "train.txt").write_text("photo06.png\n")
    folder = release(
        planted,
        tmp_path,
        "splits.test=0.0",
        f"split_lists.test={tmp_path / 'test.txt'}",
        f"split_lists.train={tmp_path / 'train.txt'}",
    )
    split = samples(folder)
    assert {name for name in split if split[name] == "test"} == {"photo15", "z_near06"}
    # Its copy is in test, so it must not be trained on.
    assert removed(folder)["photo06"] == "duplicate"
    assert is_whole(folder)
