"""The files about a whole release, which the driver writes when all shards are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import yaml

from pipeline.release.card import card
from pipeline.release.checksums import checksum_lines
from pipeline.release.config import ReleaseConfig
from pipeline.release.croissant import croissant
from pipeline.release.facts import Facts, read_facts, settings_of
from pipeline.release.files import remove_strays
from pipeline.release.statistics import Counts, Totals, decoded
from pipeline.storage import layout_release
from pipeline.storage.layout import named_round, within
from pipeline.storage.manifest import json_bytes
from pipeline.storage.store import Store


class Finish:
    """The end of one build."""

    def __init__(
        self,
        store: Store,
        config: ReleaseConfig,
        folder: str,
        facts: Facts,
    ) -> None:
        self.store = store
        self.config = config
        self.folder = folder
        # As they are read from the file: JSON sorts the names.
        self.facts = read_facts(json_bytes(facts.to_json()))

    def is_done(self) -> bool:
        """Whether the release is there.

        Raises:
            ValueError: it is there with other content.
        """
        if not self.store.exists(self._path(layout_release.CHECKSUMS)):
            return False
        data = self.store.read(self._path(layout_release.FACTS))
        if read_facts(data).inputs == self.facts.inputs:
            return True
        raise ValueError(
            f"version={self.config.version}: {self.store.shown(self.folder)} was released from "
            "other labels or settings; give another version"
        )

    def totals(self) -> Totals:
        """The counts of a release that is there."""
        value = self.store.read_json(self._path(layout_release.STATISTICS))
        return cast(Totals, value)

    def run(self, shards: Sequence[str]) -> Totals:
        """Write the files, the checksums last; returns the counts.

        Raises:
            ValueError: no sample is left to release.
        """
        totals = self._counts(shards).totals()
        if not totals["annotations"]["images"]:
            raise ValueError(f"{self.folder}: no sample is left to release; loosen the settings")
        sums = self._sums_of_shards()
        for name, data in self._contents(totals).items():
            published = self.store.publish(self._path(name), data)
            sums[name] = published.sha256
        remove_strays(self.store, self.folder, sums)
        lines = checksum_lines(sums)
        self.store.publish(self._path(layout_release.CHECKSUMS), lines.encode())
        return totals

    def _contents(self, totals: Totals) -> dict[str, bytes]:
        """The files by their names in the release."""
        settings = settings_of(self.store, self.config, named_round(self.facts.round))
        text = yaml.safe_dump(settings, allow_unicode=True)
        return {
            layout_release.CARD: card(self.facts, totals).encode(),
            layout_release.CROISSANT: json_bytes(croissant(self.facts, totals)),
            layout_release.FACTS: json_bytes(self.facts.to_json()),
            layout_release.SETTINGS: text.encode(),
            layout_release.STATISTICS: json_bytes(totals),
        }

    def _counts(self, shards: Sequence[str]) -> Counts:
        """The counts of all shards, added up in a fixed order, as `verify` adds them."""
        total = Counts()
        for shard in shards:
            name = layout_release.counts(self.folder, shard)
            parts = self.store.read_json(name)
            for split in sorted(parts):
                total.merge(decoded(parts[split]))
        return total

    def _sums_of_shards(self) -> dict[str, str]:
        """The sha256 of the files that the workers wrote, by their names in the release."""
        sums = {}
        start = f"{self.folder}/"
        build_folder = layout_release.build_folder(self.folder)
        for manifest in self.store.manifests(build_folder):
            for name, file in manifest.files.items():
                if name.startswith(start):
                    sums[name.removeprefix(start)] = file.sha256
        return sums

    def _path(self, name: str) -> str:
        """A file of the release by its name in the work folder."""
        return within(self.folder, name)
