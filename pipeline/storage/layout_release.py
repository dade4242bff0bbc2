"""Every name inside a release, and of the journal of its build; the rest is in `layout.py`.

    release/NAME-VERSION/               one release: what is given to others
        README.md                       the card, with the header that the Hugging Face Hub reads
        croissant.json                  Croissant metadata (mlcommons.org/croissant)
        release.json                    how it was made: rounds, models, licences, checks
        config.yaml                     the settings of the run and of the release
        statistics.json                 what it holds, counted
        SHA256SUMS                      of all other files; written last, it marks a whole release
        shards/SPLIT/SHARD.tar          WebDataset: images (unless they are references) and records
        index/SPLIT/SHARD.parquet       one row a sample
        annotations/SPLIT/SHARD.parquet one row an annotation
        objects/SPLIT/SHARD.parquet     one row a sample: boxes, categories and captions as lists
        lineage/SPLIT/SHARD.parquet     one row an annotation: the signals that it was made from
        flags/SPLIT/SHARD.parquet       one row a flag: personal data in a text, a blurred region
        removed/SHARD.parquet           what the round had and the release has not, with reasons
    journal/release/NAME-VERSION/       how far the build is
        duplicates/DIGEST.parquet       one row per image that repeats another of the round
        survey/SHARD.json               what the driver must know of a shard to select its samples
        survey/manifests/
        decisions/SHARD.json            the samples of a shard that are not split by their key alone
        counts/SHARD.json               what was released of a shard, counted
        manifests/

The functions on files of a release take its folder; "" stands for a store that is the release.
"""

from __future__ import annotations

from pipeline.storage.layout import JSON_SUFFIX, TABLE_SUFFIX, TAR_SUFFIX, within
from pipeline.storage.layout_journal import JOURNAL

RELEASES = "release"

CARD = "README.md"
CROISSANT = "croissant.json"
FACTS = "release.json"
SETTINGS = "config.yaml"
STATISTICS = "statistics.json"
CHECKSUMS = "SHA256SUMS"
WRITTEN_LAST = (CARD, CROISSANT, FACTS, SETTINGS, STATISTICS)
"""The files that the driver writes, in the order of `SHA256SUMS`."""

SHARDS = "shards"
INDEX = "index"
ANNOTATIONS = "annotations"
OBJECTS = "objects"
LINEAGE = "lineage"
FLAGS = "flags"
REMOVED = "removed"
PARTS = (SHARDS, INDEX, ANNOTATIONS, OBJECTS, LINEAGE, FLAGS)
"""The folders with one folder for each split."""


def release_folder(name: str, version: str) -> str:
    """The folder of a release."""
    return f"{RELEASES}/{name}-{version}"


def is_release(folder: str) -> bool:
    """Whether a folder of a work folder holds a release."""
    return folder.startswith(f"{RELEASES}/")


def part_folder(folder: str, part: str) -> str:
    """One of the folders in a release: one of `PARTS`, or `REMOVED`."""
    return within(folder, part)


def split_folder(folder: str, part: str, split: str) -> str:
    """The files of one split in one of `PARTS`."""
    return within(folder, f"{part}/{split}")


def release_tar(folder: str, split: str, shard: str) -> str:
    """The images and records of one shard that are in a split."""
    return f"{split_folder(folder, SHARDS, split)}/{shard}{TAR_SUFFIX}"


def release_table(folder: str, part: str, split: str, shard: str) -> str:
    """One of the tables of one shard in a split; `part` is one of `PARTS`, but not the tars."""
    return f"{split_folder(folder, part, split)}/{shard}{TABLE_SUFFIX}"


def removed_table(folder: str, shard: str) -> str:
    """What of a shard is not in the release."""
    return f"{part_folder(folder, REMOVED)}/{shard}{TABLE_SUFFIX}"


def files_of(part: str) -> str:
    """A pattern for all files of one of `PARTS`, as Croissant wants it."""
    return files_of_split(part, "*")


def files_of_split(part: str, split: str) -> str:
    """A pattern for the files of one split in one of `PARTS`."""
    suffix = TAR_SUFFIX if part == SHARDS else TABLE_SUFFIX
    return f"{part}/{split}/*{suffix}"


# The journal of a build


def build_folder(folder: str) -> str:
    """The journal of the build of a release; its manifests tell which shards are done."""
    return f"{JOURNAL}/{folder}"


def duplicates(folder: str, mark: str) -> str:
    """The images that repeat another; `mark` is the digest of all hashes and thresholds."""
    return f"{build_folder(folder)}/duplicates/{mark}{TABLE_SUFFIX}"


def survey_folder(folder: str) -> str:
    """The surveys of a build."""
    return f"{build_folder(folder)}/survey"


def survey(folder: str, shard: str) -> str:
    """The survey of a shard."""
    return f"{survey_folder(folder)}/{shard}{JSON_SUFFIX}"


def decisions_folder(folder: str) -> str:
    """The decisions of a build."""
    return f"{build_folder(folder)}/decisions"


def decisions(folder: str, shard: str) -> str:
    """The samples of a shard that are not split by their key alone."""
    return f"{decisions_folder(folder)}/{shard}{JSON_SUFFIX}"


def counts(folder: str, shard: str) -> str:
    """What was released of a shard, counted."""
    return f"{build_folder(folder)}/counts/{shard}{JSON_SUFFIX}"
