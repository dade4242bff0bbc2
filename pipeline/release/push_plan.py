"""What a push has to do: a release on this machine compared with what the Hub has of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.release.checksums import parse_checksums
from pipeline.release.facts import read_facts
from pipeline.release.hub import RemoteFile
from pipeline.release.verify import Advance, verify
from pipeline.storage.layout_release import CHECKSUMS, FACTS, PARTS, REMOVED, WRITTEN_LAST

LAST = (*WRITTEN_LAST, CHECKSUMS)
"""The files of the last commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done."""

    version: str
    uploads: list[str]
    """The files that the Hub does not have, those of `LAST` last."""
    bytes: int
    """Of `uploads`."""
    deletions: list[str]
    """Files of another version that this one does not have."""
    is_new: bool
    """Whether the repository is still to be made."""
    is_done: bool
    """Whether this version is there already."""


@dataclass(frozen=True, slots=True)
class LocalRelease:
    """A whole release in a folder of this machine."""

    folder: Path
    version: str
    sums: Mapping[str, str]
    """The sha256 of each file but `SHA256SUMS`."""

    def plan(
        self,
        there: Mapping[str, RemoteFile],
        is_new: bool = False,
        is_done: bool = False,
    ) -> Plan:
        """What is to be done, if these files are on the Hub."""
        names = [*sorted(set(self.sums) - set(LAST)), *LAST]
        uploads = []
        if not is_done:
            uploads = [name for name in names if self.differs(name, there)]
        if uploads and uploads[-1] != CHECKSUMS:
            # The first commit takes it away.
            uploads.append(CHECKSUMS)
        wanted = set(names)
        deletions = []
        for name in sorted(there):
            if name not in wanted and _is_part(name):
                deletions.append(name)
        return Plan(
            version=self.version,
            uploads=uploads,
            bytes=sum((self.folder / name).stat().st_size for name in uploads),
            deletions=deletions,
            is_new=is_new,
            is_done=is_done,
        )

    def differs(self, name: str, there: Mapping[str, RemoteFile]) -> bool:
        """Whether the Hub lacks a file, or has another one."""
        remote = there.get(name)
        if remote is None:
            return True
        if remote.sha256 and name in self.sums:
            return remote.sha256 != self.sums[name]
        return not remote.is_same((self.folder / name).read_bytes())


def local_release(folder: str, advance: Advance) -> LocalRelease:
    """The release in a folder of this machine, verified.

    `advance` is called with the shards verified and in all.

    Raises:
        ValueError: there is none, or `fld release verify` finds a problem in it.
    """
    if "://" in folder:
        raise ValueError(f"{folder}: is no folder of this machine; copy the release, and push that")
    report = verify(folder, advance)
    if report.findings:
        raise ValueError(
            f"{folder}: the release has {len(report.findings)} problems, such as "
            f"{report.findings[0].line}; `fld release verify` lists them"
        )
    path = Path(folder)
    sums, _ = parse_checksums((path / CHECKSUMS).read_text(encoding="utf-8"))
    facts = read_facts((path / FACTS).read_bytes())
    return LocalRelease(path, facts.version, sums)


def _is_part(name: str) -> bool:
    """Whether a file of the repository is of the kind of which a release has one a shard."""
    part = name.partition("/")[0]
    return part in (*PARTS, REMOVED) and name.endswith((".tar", ".parquet"))
