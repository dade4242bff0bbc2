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


def read_samples(
    store: Store,
    name: str,
    findings: Findings,
) -> Iterator[TarSample]:
    """The samples of the tar `name`: members with one key that follow each other."""
    sample = TarSample("")
    try:
        with store.open(name) as file, tarfile.open(fileobj=file) as tar:
            for info in tar:
                key, _, extension = info.name.partition(".")
                extracted = tar.extractfile(info)
                if extracted is None:
                    findings.add(name, f"{info.name}: is no file")
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
        findings.add(name, f"cannot be read to its end: {error}", sample.key)
    if sample.key:
        yield sample
