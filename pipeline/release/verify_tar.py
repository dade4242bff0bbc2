"""The samples of a release's tar as far as it can be read; what is broken becomes a finding."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.release.findings import Findings
from pipeline.storage.store import Store
from pipeline.storage.tars import Member


@dataclass(slots=True)
class TarSample:
    """One sample of a tar."""

    key: str
    data: dict[str, bytes] = field(default_factory=dict)
    """The content by the extension of the member."""
    members: dict[str, Member] = field(default_factory=dict)


class Samples:
    """The samples of the tar `name`: members with one key that follow each other."""

    def __init__(self, store: Store, name: str, findings: Findings) -> None:
        self.is_whole = True
        """False after a walk that has not come to the end of the tar."""
        self._store = store
        self._name = name
        self._findings = findings

    def __iter__(self) -> Iterator[TarSample]:
        sample = TarSample("")
        try:
            with self._store.open(self._name) as file, tarfile.open(fileobj=file) as tar:
                for info in tar:
                    key, _, extension = info.name.partition(".")
                    extracted = tar.extractfile(info)
                    if extracted is None:
                        self._findings.add(self._name, f"{info.name}: is no file")
                        continue
                    if key != sample.key:
                        if sample.key:
                            yield sample
                        sample = TarSample(key)
                    sample.data[extension] = extracted.read()
                    sample.members[extension] = Member(
                        name=info.name,
                        offset=info.offset_data,
                        size=info.size,
                    )
        except (tarfile.TarError, OSError, EOFError) as error:
            self.is_whole = False
            self._findings.add(self._name, f"cannot be read to its end: {error}", sample.key)
            # Its other members may be behind the end.
            return
        if sample.key:
            yield sample
