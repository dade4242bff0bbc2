"""`fld bench shards`: how fast images become shards.

Our side writes tars with a sha256 and publishes each whole under its final name; the baseline is
`webdataset.ShardWriter`. The same bytes, shards of the same size, no fsync on either side. Beside it the whole ingest
of a folder: reading, decoding every pixel as a check, hashing, writing, under Ray once its actors are there.
"""

from __future__ import annotations

import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import webdataset

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.execution.engine import Engine, connect
from pipeline.ingest.assignment import list_source
from pipeline.refinement import loop
from pipeline.storage import layout
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter

DISTINCT = 50  # different JPEGs; the rest repeat them under other names
TARGET = 100_000  # bytes of one


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardsBenchConfig:
    images: int = 5000
    shard_size: int = 500
    repeats: int = 5
    workers: int = 2  # of the ingest
    ingest: bool = True
    folder: str = ""  # where to write; the system's temporary folder by default
    seed: int = 0


def shards(config: ShardsBenchConfig) -> dict[str, Any]:
    pictures = _jpegs(min(DISTINCT, config.images), config.seed)
    images = [(f"{i:08d}", pictures[i % len(pictures)]) for i in range(config.images)]
    megabytes = sum(len(data) for _, data in images) / 1e6
    times: dict[str, list[float]] = {"ours": [], "webdataset": []}
    with tempfile.TemporaryDirectory(prefix="fld-bench-", dir=config.folder or None) as scratch:
        for _ in range(config.repeats):
            for side, write in (("ours", _write), ("webdataset", _write_webdataset)):
                times[side].append(_timed(write, images, config.shard_size, Path(scratch) / side))
        whole = _ingest(config, images, Path(scratch)) if config.ingest else {}
    ours, theirs = (statistics.median(times[side]) for side in ("ours", "webdataset"))
    return {
        "name": "shards",
        "ratio": theirs / ours,
        "mb_per_second": megabytes / ours,
        "webdataset_mb_per_second": megabytes / theirs,
        "images_per_second": len(images) / ours,
        "webdataset_images_per_second": len(images) / theirs,
        **whole,
        "megabytes": megabytes,
        "settings": asdict(config),
    }


def _timed(
    write: Callable[..., None], images: list[tuple[str, bytes]], size: int, folder: Path
) -> float:
    folder.mkdir()
    started = time.perf_counter()
    write(images, size, folder)
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds


def _write(images: list[tuple[str, bytes]], size: int, folder: Path) -> None:
    store = Store(str(folder))
    for start in range(0, len(images), size):
        with store.publishing(layout.images_tar(layout.shard_name(start // size))) as sink:
            tar = TarWriter(sink)
            for key, data in images[start : start + size]:
                tar.write(key, {"jpg": data})
            tar.close()
        assert sink.sha256


def _write_webdataset(images: list[tuple[str, bytes]], size: int, folder: Path) -> None:
    with webdataset.ShardWriter(
        f"{folder}/{layout.SHARD_PATTERN}{layout.TAR_SUFFIX}", maxcount=size, verbose=0
    ) as writer:
        for key, data in images:
            writer.write({"__key__": key, "jpg": data})


def _ingest(
    config: ShardsBenchConfig, images: list[tuple[str, bytes]], scratch: Path
) -> dict[str, float]:
    photos, work = scratch / "photos", scratch / "work"
    photos.mkdir()
    for key, data in images:
        (photos / f"{key}.jpg").write_bytes(data)
    run = parse(
        compose(
            [
                "source=folder",
                f"source.path={photos}",
                f"source.shard_size={config.shard_size}",
                f"work={work}",
                f"cluster.workers={config.workers}",
            ]
        )
    )
    connect(run.cluster)
    started = time.perf_counter()
    store = Store(run.work)
    done = loop.ingest(store, run, Engine(run.cluster, store), list_source(run.source))
    seconds = time.perf_counter() - started
    kept = sum(manifest.samples["kept"] for manifest in store.manifests(layout.IMAGES))
    assert kept == len(images) and len(done) == -(-len(images) // config.shard_size)
    megabytes = sum(len(data) for _, data in images) / 1e6
    return {
        "ingest_images_per_second": len(images) / seconds,
        "ingest_mb_per_second": megabytes / seconds,
    }


def _jpegs(count: int, seed: int) -> list[bytes]:
    """JPEGs of about 100 KB: 640x480, smooth colours under as much noise as that takes."""
    low, high = 0.0, 64.0
    for _ in range(8):
        amount = (low + high) / 2
        low, high = (amount, high) if len(_jpeg(seed, amount)) < TARGET else (low, amount)
    return [_jpeg(seed + i, (low + high) / 2) for i in range(count)]


def _jpeg(seed: int, noise: float) -> bytes:
    from PIL import Image

    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480))
    noisy = np.asarray(smooth) + noise * rng.normal(size=(480, 640, 1))
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()
