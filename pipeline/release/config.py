"""The settings of `fld release build`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.config.compose import dotlist
from pipeline.config.effects import own
from pipeline.config.validation import build
from pipeline.release.personal import check_regions
from stages.base import no_effect
from stages.dedup import DedupConfig
from stages.ranges import Share

TRAIN = "train"
"""The split of all samples that no other split takes."""
LISTS = ("evaluation", "takedown", "url_tables", "phone_regions")
# Folders and files are called by these names, also on the Hugging Face Hub.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_]*")
_SPLIT = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTerms:
    """The terms under which the images of one source may be given to others."""

    licence: str
    """Licence of the images: an SPDX name such as CC-BY-4.0, a URL, or a sentence."""
    names: str = "*"
    """Which samples belong to this source: a pattern for their names in the source, such as
    flickr/*. The first source whose pattern fits counts. Where a run has `sources`, the terms of
    one of these are about its samples alone, and other patterns are for SOURCE/NAME."""
    url: str = ""
    """Where the images come from, for the card."""

    def __post_init__(self) -> None:
        if not self.licence.strip():
            raise ValueError("licence: empty; give the licence of the images, such as CC-BY-4.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseConfig:
    """All settings of a release."""

    name: str
    """Name of the data set: letters, digits, - and _."""
    version: str
    """Version of this release, such as 1.0.0. A finished version is never written again."""
    title: str = ""
    """Title of the card; empty: the name."""
    description: str = ""
    """What the data set is, in a sentence for the card and the Croissant metadata."""
    language: str = "en"
    """Language of the texts, as an ISO 639-1 code."""
    date: str = ""
    """Date of publication for the Croissant metadata, such as 2026-11-30. Files hold no other
    clock, so that the same inputs give the same bytes."""
    round: str = ""
    """Round to release, NN-FINGERPRINT; empty: the head."""
    images: Literal["include", "reference"] = "include"
    """`include`: the tars hold the images. `reference`: they hold the annotations only, and the
    index has the name and the sha256 of each image."""
    sources: dict[str, SourceTerms] = field(default_factory=dict)
    """The sources of the images with their licences. A source of the run that is not named here has
    the `licence` of the run. A sample without a licence is refused."""
    splits: dict[str, Share] = field(default_factory=dict)
    """Share of each source's samples in a split, such as splits.test=0.1. The rest is `train`."""
    split_lists: dict[str, str] = field(default_factory=dict)
    """Files with the keys or names of the samples of a split, one a line, any fsspec URL. If two
    lists name copies of one image, the list that stands first takes it."""
    seed: int = 0
    """Another seed makes other splits."""
    duplicates: Literal["remove", "keep"] = "remove"
    """`remove`: of images that repeat each other, the best is released. `keep`: all of them are,
    in the same split."""
    dedup: DedupConfig = field(default_factory=DedupConfig)
    """What counts as a duplicate, and as a copy of an evaluation or removed image: the settings of
    `fld dedup`."""
    evaluation: tuple[str, ...] = ()
    """Evaluation sets whose images must not be in the release: folders of images, or files with
    one path, sha256 or phash:HASH a line."""
    takedown: tuple[str, ...] = ()
    """Files that name what must not be in the release: one key, name, URL, sha256 or phash:HASH a
    line. Copies of the images that they name go, too."""
    url_tables: tuple[str, ...] = ()
    """Parquet tables with the columns `key` and `url`, such as img2dataset's, by which the URLs of
    `takedown` are found. Without them a URL must be the name of the image in its source."""
    min_precision: dict[Literal["texts", "regions", "text_regions", "triplets"], Share] = field(
        default_factory=dict
    )
    """Least precision by audit for each type. The lower end of the 95% interval must reach it, else
    nothing is released."""

    exclude: dict[str, Share] = field(default_factory=dict)
    """Scores of a whole image from which on it is not released, such as exclude.nudity=0.8 (stage
    `open_nsfw`). An image without this score is not released, either."""
    blur: dict[str, Share] = field(default_factory=dict)
    """Categories whose regions are blurred in the released images, with the least score, such as
    blur.face=0.5 (stage `faces`) or blur.person=0. Regions without a score are always blurred."""
    personal_data: Literal["flag", "remove", "ignore"] = "flag"
    """E-mail addresses and telephone numbers in texts, strings in images and texts of regions.
    `flag`: they are listed in the table `flags`. `remove`: these annotations are not released.
    `ignore`: nothing is looked for."""
    phone_regions: tuple[str, ...] = ("US",)
    """Regions whose telephone numbers are found without a country code: ISO 3166 codes. Numbers
    with one, such as +49 ..., are always found."""

    def __post_init__(self) -> None:
        if self.blur and self.images == "reference":
            raise ValueError(
                "blur: images=reference releases no pixels, so nothing would be blurred; set "
                "images=include, or leave blur out"
            )
        check_regions(self.phone_regions)
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name={self.name}: use letters, digits, - and _ only")
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f"version={self.version}: use letters, digits, . + and _ only")
        for name in (*self.splits, *self.split_lists):
            if not _SPLIT.fullmatch(name):
                raise ValueError(f"splits.{name}: use small letters, digits and _ for a split")
        if TRAIN in self.splits:
            raise ValueError(f"splits.{TRAIN}: {TRAIN} is what the other splits leave; give theirs")
        total = sum(self.splits.values())
        if total > 1:
            raise ValueError(f"splits: the shares sum up to {total:g}; give at most 1")

    def without_effect(self) -> Iterator[str]:
        yield from own(self.dedup, "dedup.")
        if not self.takedown:
            yield from no_effect(self, ("url_tables",), "nothing is taken down; set takedown")
        if self.personal_data == "ignore":
            reason = "personal_data=ignore looks for none; set personal_data=flag"
            yield from no_effect(self, ("phone_regions",), reason)

    @property
    def split_names(self) -> list[str]:
        """All splits; `train` is the first."""
        return list(dict.fromkeys([TRAIN, *self.splits, *self.split_lists]))


def parse(overrides: Sequence[str]) -> ReleaseConfig:
    """The settings from words such as `name=fld`.

    Raises:
        ValueError: a word is no setting, or a value is wrong.
    """
    values = dotlist([_as_list(word) for word in overrides], ReleaseConfig)
    config: ReleaseConfig = build(ReleaseConfig, values, "")
    return config


def _as_list(word: str) -> str:
    """A setting of the command line; where a list of files is asked for, one file makes a list."""
    name, _, value = word.partition("=")
    if name in LISTS and value[:1] not in ("", "["):
        return f"{name}=[{json.dumps(value)}]"
    return word
