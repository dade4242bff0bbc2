"""Every name of what `fld dedup` found in a work folder, as `layout` has the others.

dedup/
    latest.json                     which of the folders below are the newest
    hashes-FINGERPRINT/SHARD.parquet
    FINGERPRINT/groups.parquet      one row per image that repeats another
    FINGERPRINT/summary.json
"""

from __future__ import annotations

from pipeline.storage.layout import DEDUP, TABLE_SUFFIX, within

DEDUP_LATEST = f"{DEDUP}/latest.json"


def dedup_folder(fingerprint: str) -> str:
    """What was found with one set of thresholds."""
    return f"{DEDUP}/{fingerprint}"


def hashes_folder(fingerprint: str) -> str:
    """The hashes of all images, made by one recipe."""
    return f"{DEDUP}/hashes-{fingerprint}"


def hashes_table(folder: str, shard: str) -> str:
    """The hashes of a shard."""
    return within(folder, f"{shard}{TABLE_SUFFIX}")


def dedup_groups(folder: str) -> str:
    """One row per image that repeats another."""
    return f"{folder}/groups.parquet"


def dedup_summary(folder: str) -> str:
    """The counts of `dedup_groups`; written after it."""
    return f"{folder}/summary.json"
