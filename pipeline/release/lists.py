"""What lists of a user mean for a release: URLs by their keys, and hashes of evaluation images.

`pipeline.storage.lists` reads the lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import fsspec

from pipeline.storage.lists import Entries, check_method, read_entries, references
from stages.base import SampleError
from stages.dedup import HashConfig, Hashed, Hashes
from stages.ingest import accept
from stages.patience import patiently
from stages.remote import opened
from stages.source import SUFFIXES


def keys_of_urls(tables: Sequence[str], urls: frozenset[str]) -> dict[str, str]:
    """The URL by the key of each row of some Parquet tables whose URL is wanted.

    Raises:
        ValueError: a table cannot be read, or lacks the columns `key` and `url`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array(sorted(urls), pa.string())
    found = {}
    for table in tables:
        try:
            with opened(table) as file:
                for batch in pq.ParquetFile(file).iter_batches(columns=["key", "url"]):
                    rows = batch.filter(pc.is_in(batch["url"], value_set=wanted))
                    for row in rows.to_pylist():
                        found[str(row["key"])] = str(row["url"])
        except (OSError, KeyError, pa.ArrowException) as error:
            message = " ".join(str(error).split())
            raise ValueError(
                f"url_tables={table}: {message}; give a Parquet table with key and url"
            ) from None
    return found


def read_evaluation(place: str, config: HashConfig) -> list[Hashed]:
    """The hashes of the images of an evaluation set: a folder of images, or a list.

    `Hashed.key` is the path below the folder, or the hash in the list.

    Raises:
        ValueError: there are no images, or a file is no image.
    """
    hashes = Hashes(config)
    fs, root = fsspec.core.url_to_fs(place)
    if patiently(place, fs.isdir, root):
        files = sorted(patiently(place, fs.find, root))
        paths = [path for path in files if path.lower().endswith(SUFFIXES)]
        rows = list(_hashed(hashes, fs, paths, root))
    else:
        entries = read_entries("evaluation", [place])
        check_method("evaluation", entries, config.method)
        rows = list(_listed(hashes, fs, root, entries))
    if not rows:
        raise ValueError(f"evaluation={place}: no images there; give a folder or a list")
    return rows


def _listed(
    hashes: Hashes,
    fs: fsspec.AbstractFileSystem,
    file: str,
    entries: Entries,
) -> Iterator[Hashed]:
    """The rows of a list: hashes as they are, paths relative to the list's folder."""
    folder = file.rpartition("/")[0]
    yield from references(entries)
    paths = [f"{folder}/{name}" for name in sorted(entries.names)]
    yield from _hashed(hashes, fs, paths, folder)


def _hashed(
    hashes: Hashes,
    fs: fsspec.AbstractFileSystem,
    paths: Sequence[str],
    root: str,
) -> Iterator[Hashed]:
    """The hashes of image files, one at a time, turned upright as those of a round are."""
    for path in paths:
        name = path.removeprefix(root).lstrip("/")
        try:
            image = accept(patiently(path, fs.cat_file, path))
        except (OSError, SampleError) as error:
            message = " ".join(str(error).split())
            raise ValueError(f"evaluation={path}: {message}; remove it from the set") from None
        yield from hashes("", [name], [image.data])
