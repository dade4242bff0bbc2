"""`fld bench shards`: how fast images become shards.

Our side writes tars with a sha256 and publishes each as a whole under its final name. The baseline
is `webdataset.ShardWriter`. Both write the same bytes into shards of the same size, without fsync.
The whole ingest of a folder is measured too: reading, decoding every pixel as a check, hashing and
writing. It runs under Ray, and its time includes the start of the actors.
"""

from __future__ import annotations

import io
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import webdataset

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.execution.cluster import connect
from pipeline.ingest.assignment import list_sources
from pipeline.refinement.executor import RunExecutor
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter
from stages.base import no_effect

# Different JPEGs; further images repeat their bytes under other names.
DISTINCT = 50
# Size of one JPEG in bytes.
TARGET = 100_000
# (key, bytes) of each image.
Images = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardsBenchConfig:
    """Settings of `fld bench shards`."""

    images: int = 5000
    """Images that are written."""
    shard_size: int = 500
    """Images in one shard."""
    repeats: int = 5
    """Measurements of each side; they alternate, and the median counts."""
    workers: int = 2
    """Most actors of the ingest."""
    ingest: bool = True
    """Also measure the whole ingest."""
    folder: str = ""
    """Local folder to write to; empty: the system's temporary folder."""
    seed: int = 0
    """Seed of the images."""

    def without_effect(self) -> Iterator[str]:
        if not self.ingest:
            yield from no_effect(self, ("workers",), "no ingest is measured; set ingest=true")


def shards(config: ShardsBenchConfig) -> Json:
    """Compare both sides; `ratio` is our rate over webdataset's."""
    images = _images(config)
    our_times: list[float] = []
    their_times: list[float] = []
    ingest: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="fld-bench-", dir=config.folder or None) as temporary:
        scratch = Path(temporary)
        for _ in range(config.repeats):
            seconds = _time(_write, images, config.shard_size, scratch / "ours")
            our_times.append(seconds)
            seconds = _time(_write_webdataset, images, config.shard_size, scratch / "webdataset")
            their_times.append(seconds)
        if config.ingest:
            ingest = _ingest(config, images, scratch)
    ours = statistics.median(our_times)
    theirs = statistics.median(their_times)
    megabytes = _megabytes(images)
    return {
        "name": "shards",
        "ratio": theirs / ours,
        "mb_per_second": megabytes / ours,
        "webdataset_mb_per_second": megabytes / theirs,
        "images_per_second": len(images) / ours,
        "webdataset_images_per_second": len(images) / theirs,
        **ingest,
        "megabytes": megabytes,
        "settings": asdict(config),
    }


def _images(config: ShardsBenchConfig) -> Images:
    """Make the images that both sides write."""
    count = min(DISTINCT, config.images)
    jpegs = _jpegs(count, config.seed)
    images: list[tuple[str, bytes]] = []
    for number in range(config.images):
        key = f"{number:08d}"
        images.append((key, jpegs[number % count]))
    return images


def _megabytes(images: Images) -> float:
    """Return the size of all images in millions of bytes."""
    size = sum(len(data) for _, data in images)
    return size / 1e6


def _time(
    write: Callable[[Images, int, Path], None], images: Images, size: int, folder: Path
) -> float:
    """Return the seconds that it takes to write all images; what was written is removed."""
    folder.mkdir()
    started = time.perf_counter()
    write(images, size, folder)
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds


def _write(images: Images, size: int, folder: Path) -> None:
    """Write shards as the ingest does."""
    store = Store(str(folder))
    for start in range(0, len(images), size):
        part = images[start : start + size]
        shard = layout.shard_name(start // size)
        with store.publishing(layout.images_tar(shard)) as sink:
            tar = TarWriter(sink)
            for key, data in part:
                tar.write(key, {"jpg": data})
            tar.close()
        assert sink.sha256


def _write_webdataset(images: Images, size: int, folder: Path) -> None:
    """Write shards as webdataset does."""
    pattern = f"{folder}/{layout.STEM}-%06d{layout.TAR_SUFFIX}"
    with webdataset.ShardWriter(pattern, maxcount=size, verbose=0) as writer:
        for key, data in images:
            writer.write({"__key__": key, "jpg": data})


def _ingest(config: ShardsBenchConfig, images: Images, scratch: Path) -> dict[str, float]:
    """Ingest a folder as `fld run` does; return the rates, once Ray runs."""
    photos = scratch / "photos"
    photos.mkdir()
    for key, data in images:
        (photos / f"{key}.jpg").write_bytes(data)
    overrides = [
        "source=folder",
        f"source.path={photos}",
        f"source.shard_size={config.shard_size}",
        f"work={scratch / 'work'}",
        f"cluster.workers={config.workers}",
    ]
    run = parse(compose(overrides))
    connect(run.cluster)
    started = time.perf_counter()
    store = Store(run.work)
    done = RunExecutor(store, run).ingest(list_sources(run))
    seconds = time.perf_counter() - started
    kept = sum(manifest.samples["kept"] for manifest in store.manifests(layout.IMAGES))
    assert kept == len(images)
    assert len(done) == math.ceil(len(images) / config.shard_size)
    return {
        "ingest_images_per_second": len(images) / seconds,
        "ingest_mb_per_second": _megabytes(images) / seconds,
    }


def _jpegs(count: int, seed: int) -> list[bytes]:
    """Make JPEGs of about `TARGET` bytes; bisection finds the noise that gives this size."""
    low, high = 0.0, 64.0
    for _ in range(8):
        middle = (low + high) / 2
        if len(_jpeg(seed, middle)) < TARGET:
            low = middle
        else:
            high = middle
    noise = (low + high) / 2
    return [_jpeg(seed + i, noise) for i in range(count)]


def _jpeg(seed: int, noise: float) -> bytes:
    """Make a JPEG of 640x480 pixels: smooth colours under grey noise of this deviation."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    colours = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    smooth = Image.fromarray(colours).resize((640, 480))
    noisy = np.asarray(smooth) + noise * generator.normal(size=(480, 640, 1))
    image = np.clip(noisy, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85)
    return file.getvalue()
