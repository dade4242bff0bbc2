import hashlib
import io
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from pipeline.config.validation import build
from stages.dedup import DedupConfig, Duplicate, Hashed, Hashes, duplicates
from stages.hashed import HashTable
from tests.stages.specialists.tiny import clip


def photo(seed: int) -> Image.Image:
    """Smooth noise with structure at many scales, as photos have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((240, 320, 3))
    for scale in (4, 8, 16, 32):
        small = rng.integers(0, 256, (scale * 3 // 4, scale, 3), dtype=np.uint8)
        total += (
            np.asarray(Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC), float)
            / scale
        )
    total = 255 * (total - total.min()) / np.ptp(total)
    return Image.fromarray(total.astype(np.uint8))


def data(image: Image.Image, form: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


COPIES = {
    "original": lambda image: data(image),
    "copy": lambda image: data(image),
    "half_size": lambda image: data(image.resize((160, 120))),
    "jpeg_30": lambda image: data(image, "JPEG", quality=30),
    "cropped": lambda image: data(image.crop((4, 3, 316, 237))),
    "blurred": lambda image: data(image.filter(ImageFilter.GaussianBlur(1.5))),
    "mirrored": lambda image: data(ImageOps.mirror(image).resize((240, 180))),
}


def found(config: DedupConfig, **images: bytes) -> dict[str, tuple[str, str]]:
    rows = Hashes(config)("shard-000000", list(images), list(images.values()))
    return {d.key: (d.kept, d.kind) for d in duplicates(HashTable.of(rows), config)}


@pytest.mark.parametrize("seed", range(5))
def test_altered_copies_repeat_the_largest_one_and_a_mirrored_one_does_only_if_asked(
    seed: int,
) -> None:
    images = {name: make(photo(seed)) for name, make in COPIES.items()}
    other = {"other": data(photo(seed + 100))}
    kept = ("copy", "exact")
    near = dict.fromkeys(("half_size", "jpeg_30", "cropped", "blurred"), ("copy", "near"))
    assert found(DedupConfig(), **images, **other) == {"original": kept, **near}
    mirrored = found(DedupConfig(mirrored=True), **images, **other)
    assert mirrored == {"original": kept, **near, "mirrored": ("copy", "mirrored")}


def test_images_of_16_bits_or_with_transparency_are_told_apart_as_the_stages_see_them() -> None:
    made = {}
    for seed in range(3):
        cells = np.random.default_rng(seed).integers(0, 2, (8, 8)).repeat(16, 0).repeat(16, 1)
        made[f"deep_{seed}"] = data(Image.fromarray((300 + 50_000 * cells).astype(np.uint16)))
        alone = np.zeros((128, 128, 4), np.uint8)
        alone[..., 3] = 255 * (1 - cells)
        made[f"alpha_{seed}"] = data(Image.fromarray(alone[::-1].copy()))
    assert found(DedupConfig(), **made) == {}


def test_images_without_structure_are_compared_by_their_bytes_only() -> None:
    noise = np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8)
    scan = 250 * np.ones((640, 640), np.uint8)
    scan[300:302, 100:110] = 0
    even = {"black": data(Image.new("L", (64, 64))), "white": data(Image.new("L", (64, 64), 255))}
    even |= {"grey": data(Image.fromarray(noise + 100)), "scan": data(Image.fromarray(scan))}
    assert found(DedupConfig(mirrored=True), **even, again=even["white"]) == {
        "white": ("again", "exact")
    }


def test_the_pixels_of_a_batch_are_kept_for_a_model_only() -> None:
    images = [data(photo(0).resize((2000, 1500)))] * 4
    Hashes(DedupConfig())("s", ["warm"], images[:1])
    tracemalloc.start()
    Hashes(DedupConfig())("s", list("abcd"), images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 2000 * 1500


@pytest.mark.parametrize("setting", [{"distance": 33}, {"distance": -1}, {"similarity": 1.5}])
def test_a_threshold_that_would_drop_everything_or_nothing_is_refused(
    setting: dict[str, float],
) -> None:
    with pytest.raises(
        ValueError, match=f"{next(iter(setting))}=.* must be (less|greater) than or equal to"
    ):
        build(DedupConfig, setting, "")


def row(key: str, bits: int, pixels: int = 100, mirrored: int = (1 << 64) - 1) -> Hashed:
    return Hashed(
        key=key,
        shard="s",
        pixels=pixels,
        bytes=1,
        sha256=hashlib.sha256(key.encode()).hexdigest(),
        hash=f"{bits:016x}",
        mirrored=f"{mirrored:016x}",
    )


def test_a_chain_of_small_steps_keeps_every_picture_that_has_no_near_copy_left() -> None:
    chain = [
        row("a", 0, 400),
        row("b", 0b111, 300),
        row("c", 0b111111, 200),
        row("d", 0b111111111, 100),
    ]
    assert duplicates(HashTable.of(chain), DedupConfig(distance=3)) == [
        Duplicate(key="b", shard="s", kept="a", kind="near", distance=3.0),
        Duplicate(key="d", shard="s", kept="c", kind="near", distance=3.0),
    ]


def test_groups_do_not_depend_on_the_order_of_the_images() -> None:
    rng = np.random.default_rng(0)
    rows = [row(f"k{i}", int(rng.integers(1 << 12)), int(rng.integers(1, 4))) for i in range(300)]
    expected = duplicates(HashTable.of(rows), DedupConfig(distance=2))
    assert 50 < len(expected) < 300
    shuffled = [rows[i] for i in rng.permutation(300)]
    assert duplicates(HashTable.of(shuffled), DedupConfig(distance=2)) == expected


@pytest.mark.parametrize("mirrored", [False, True])
def test_duplicates_are_those_of_a_comparison_of_each_with_all_that_are_kept(
    mirrored: bool,
) -> None:
    rng = np.random.default_rng(3)
    rows = [
        row(f"k{i:04}", int(a), 2000 - i, int(b))
        for i, (a, b) in enumerate(rng.integers(0, 1 << 14, (1500, 2)))
    ]
    kept: list[Hashed] = []
    expected = {}
    for each in rows:
        for one in kept:
            near = [(bits(each.hash, one.hash), "near")]
            turned = [bits(each.hash, one.mirrored), bits(each.mirrored, one.hash)]
            near += [(min(turned), "mirrored")] * mirrored
            if told := [(kind, distance) for distance, kind in near if distance <= 2]:
                expected[each.key] = (one.key, *told[0])
                break
        else:
            kept.append(each)
    assert 500 < len(expected) < 1500
    found = duplicates(HashTable.of(rows), DedupConfig(distance=2, mirrored=mirrored))
    assert {d.key: (d.kept, d.kind, d.distance) for d in found} == expected


def bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_a_mirrored_image_is_found_whichever_of_the_two_hashes_was_rounded() -> None:
    larger, smaller = (
        row("larger", 0xF0, 200, mirrored=0x0F0E),
        row("smaller", 0x0F0F, 100, mirrored=0xFFFFFFF),
    )
    found = duplicates(HashTable.of([larger, smaller]), DedupConfig(distance=2, mirrored=True))
    assert [(d.key, d.kept, d.kind, d.distance) for d in found] == [
        ("smaller", "larger", "mirrored", 1.0)
    ]


def test_memory_and_time_grow_with_the_images_also_when_all_are_alike() -> None:
    rng = np.random.default_rng(5)
    looks = {int(np.bitwise_xor.reduce(1 << rng.integers(0, 63, 3))) for _ in range(8_000)}
    rows = [row(f"k{i}", look) for i, look in enumerate(sorted(looks))]
    started = time.process_time()
    tracemalloc.start()
    found = duplicates(HashTable.of(rows), DedupConfig())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) > 0.9 * len(rows) and peak < 200e6
    assert time.process_time() - started < 30


def test_a_model_gives_each_image_the_unit_vector_of_its_features(tmp_path: Path) -> None:
    import torch

    for part in (parts := clip()):
        part.save_pretrained(tmp_path)
    images = {"a": photo(0), "b": photo(1), "again": photo(0)}
    config = DedupConfig(model=str(tmp_path), similarity=0.999999, distance=0)
    rows = Hashes(config)("s", list(images), [data(image) for image in images.values()])
    with torch.no_grad():
        seen = parts[1](images=[images["b"]], return_tensors="pt")
        features = parts[0].eval().get_image_features(**seen).pooler_output[0]
    np.testing.assert_allclose(rows[1].embedding, features / features.norm(), atol=1e-5)
    assert [(d.key, d.kept, d.kind) for d in duplicates(HashTable.of(rows), config)] == [
        ("again", "a", "exact")
    ]
