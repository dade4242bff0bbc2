"""The work folder: its files (`pipeline.storage.files`), and the manifests that vouch for them.

A shard's manifest is published after its files, so a manifest means that the files are complete. A
kill between the two leaves files that no manifest counts, and the shard is done again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from pipeline.errors import SamplesLost
from pipeline.storage import layout, layout_journal
from pipeline.storage.files import Files
from pipeline.storage.manifest import (
    WITHOUT_FAILURES,
    Digests,
    Manifest,
    ManifestName,
    SampleCounts,
)
from pipeline.storage.threads import mapped


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A manifest that was taken back, so that its shard is done again."""

    manifest: Manifest
    redo: set[str]
    """Keys of samples that must be done again even if their inputs are unchanged."""


class Store(Files):
    """One work folder."""

    def publish_manifest(self, folder: str, manifest: Manifest) -> None:
        """Publish a manifest, after all of its files.

        Raises:
            SamplesLost: its counts do not add up.
        """
        lost = manifest.lost()
        if lost:
            raise SamplesLost(f"{folder}: {lost}")
        self.publish(layout.manifest(folder, manifest.name), manifest.encode())

    def read_manifest(self, name: str) -> Manifest:
        """The manifest in a file.

        Raises:
            ValueError: the file is broken.
        """
        try:
            return Manifest.decode(self.read(name))
        except ValueError as error:
            advice = "`fld verify` finds and repairs broken files"
            raise ValueError(f"{self.shown(name)}: {error}; {advice}") from None

    def withdraw(self, folder: str, shards: Mapping[str, Collection[str]]) -> None:
        """Move the manifests of `shards` to the journal, so that these shards are done again.

        A manifest must never describe bytes that have changed, so it is withdrawn before its files
        are rewritten. The withdrawn manifest tells which rows of the old files can be reused
        (`pipeline.execution.reuse`). Samples that are named with a shard are redone in any case.
        """

        def move(name: ManifestName) -> None:
            file = layout.manifest(folder, name.file)
            # Nothing of a shard is reused if its manifest is broken.
            with suppress(ValueError):
                manifest = Manifest.decode(self.read(file))
                value = {**asdict(manifest), "redo": sorted(shards[name.shard])}
                self.publish_json(layout_journal.withdrawn(folder, name.shard), value)
            self.remove(file)

        if not shards:
            return
        for _ in mapped(move, self._manifest_names(folder, shards)):
            pass

    def withdrawn(self, folder: str, shard: str) -> Withdrawn | None:
        """The withdrawn manifest of a shard, None if there is none."""
        name = layout_journal.withdrawn(folder, shard)
        if not self.exists(name):
            return None
        value = self.read_json(name)
        redo = set(value.pop("redo"))
        return Withdrawn(Manifest.from_json(value), redo)

    def done(self, folder: str) -> dict[str, Digests]:
        """The digests of every finished shard, from the names of the manifests alone."""
        return {name.shard: name.digests for name in self._manifest_names(folder)}

    def counts(self, folder: str) -> dict[str, SampleCounts]:
        """The samples of every finished shard, from the names of the manifests alone."""
        return {name.shard: name.counts for name in self._manifest_names(folder)}

    def with_failures(self, folder: str) -> Sequence[str]:
        """The finished shards in which samples failed, from the names of the manifests alone."""
        failed = []
        for file in self.list(layout.manifests(folder)):
            # Most names need not be parsed.
            if file.endswith(WITHOUT_FAILURES):
                continue
            name = ManifestName.parse(file)
            if name is not None:
                failed.append(name.shard)
        return sorted(failed)

    def manifests(self, folder: str, shards: Collection[str] | None = None) -> Iterator[Manifest]:
        """The manifests of a folder, or of some shards of it.

        Manifests that are withdrawn while this runs are left out.
        """

        def read(name: ManifestName) -> Manifest | None:
            try:
                return self.read_manifest(layout.manifest(folder, name.file))
            except FileNotFoundError:
                return None

        if shards is not None and not shards:
            return
        for manifest in mapped(read, self._manifest_names(folder, shards)):
            if manifest is not None:
                yield manifest

    def _manifest_names(
        self,
        folder: str,
        shards: Collection[str] | None = None,
    ) -> Iterator[ManifestName]:
        """The parsed names of manifests. Other files, such as those of a sync tool, are ignored."""
        for file in self.list(layout.manifests(folder)):
            name = ManifestName.parse(file)
            if name is not None and (shards is None or name.shard in shards):
                yield name
