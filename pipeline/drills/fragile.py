"""The stage that the drills run: slow enough to be disturbed, and killed by a sample on request."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.schema import Annotations, Text
from stages.base import Batch, Result

POISON = "FLD_DRILL_POISON"
"""The variable that names the file with the key of the sample that kills the stage. It is no
setting, because settings name the folders of a run, and those shall not differ between runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FragileConfig:
    """Settings of the stage `fragile`."""

    seconds: float = 0.1
    """How long it takes for a sample."""


class Fragile:
    """Writes a text about each sample. In: nothing. Out: one text."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: FragileConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        """Write the texts; a segmentation fault if the poisoned sample is among them."""
        poisoned = _poisoned()
        results: list[Result] = []
        for sample in batch:
            if sample.key == poisoned:
                os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(self.config.seconds)
            results.append(Annotations(texts=[Text(granularity="alt", text=f"seen {sample.key}")]))
        return results


def _poisoned() -> str:
    """The key of the sample that kills the stage, "" if there is none."""
    path = Path(os.environ[POISON])
    return path.read_text() if path.exists() else ""
