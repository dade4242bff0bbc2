"""Which weights for labelling are on this machine, and the best recipe that they allow.

`fld label` looks for a detector (an ONNX file of YOLOX) and for a Florence-2 (a folder, or a model
of the hub in the cache). RapidOCR brings its own weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.models.catalogue import catalogue
from pipeline.models.state import FILES
from stages import registry
from stages.base import StageError
from stages.checkpoints import CONFIG, read_config
from stages.florence.limits import limits_of
from stages.hub import HubModel, cache_folder

# Where people put weights, below the present folder.
PLACES = (".", "models", "weights")
# A Florence-2 for photos sees images of this side, in pixels; the one of this package does not.
RESOLUTION = 768
# Present where the driver of NVIDIA is.
GPU_FOLDER = "/proc/driver/nvidia/gpus"


@dataclass(frozen=True, slots=True)
class Weights:
    """What was found."""

    detector: Path | None
    """The best detector: of several the largest file."""
    florence: str
    """The best Florence-2, a folder or OWNER/NAME@COMMIT; empty if there is none."""
    has_gpu: bool

    @property
    def is_enough(self) -> bool:
        """Whether there is anything to label photos with."""
        return self.detector is not None or bool(self.florence)

    @property
    def uses_florence(self) -> bool:
        """Whether Florence-2 labels: it needs a GPU, unless there is no detector."""
        return bool(self.florence) and (self.has_gpu or self.detector is None)

    def recipe(self) -> list[str]:
        """The settings of `fld run` that label with these weights; without any, none names one."""
        if not self.is_enough:
            return ["experiment=photos"]
        if not self.uses_florence:
            return ["experiment=photos", f"specialists.detect.weights={self.detector}"]
        words = [
            "experiment=photos",
            "specialists=florence",
            f"specialists.annotate.model={self.florence}",
        ]
        if self.has_gpu:
            words.append("cluster.groups.florence={gpus: 1, actors: [1, 1]}")
        return words


def find_weights(folders: Sequence[str]) -> Weights:
    """Look for weights in folders and one level below them, and in the cache of models."""
    detectors = sorted(_detectors(folders), key=lambda file: (file.stat().st_size, str(file)))
    checkpoints = [*_checkpoints(folders), *_cached()]
    return Weights(
        detector=detectors[-1] if detectors else None,
        florence=checkpoints[0] if checkpoints else "",
        has_gpu=os.path.isdir(GPU_FOLDER) and bool(os.listdir(GPU_FOLDER)),
    )


def searched(folders: Sequence[str]) -> list[str]:
    """The folders that are looked into."""
    return [*dict.fromkeys(os.path.abspath(folder) for folder in folders), str(cache_folder())]


def _detectors(folders: Sequence[str]) -> Iterator[Path]:
    """The ONNX files that the stage `yolox` can load."""
    stage, config = registry.load("yolox")
    for folder in (*folders, str(cache_folder() / FILES)):
        for file in _below(folder, "*.onnx"):
            try:
                stage.check(config(weights=str(file)))
            except (StageError, ValueError, OSError):
                # It is another model, or no whole file.
                continue
            yield file


def _checkpoints(folders: Sequence[str]) -> Iterator[str]:
    """The folders with a whole Florence-2 that is large enough for photos."""
    for folder in folders:
        for file in _below(folder, CONFIG):
            checkpoint = str(file.parent)
            if _is_florence(checkpoint):
                yield checkpoint


def _below(folder: str, pattern: str) -> list[Path]:
    """The files of a name in a folder and one level below it."""
    here = Path(folder).glob(pattern)
    below = Path(folder).glob(f"*/{pattern}")
    return sorted((*here, *below))


def _cached() -> Iterator[str]:
    """The Florence-2 models of the catalogue that are in the cache, the largest first."""
    known = sorted(catalogue().hub.items(), key=lambda item: -item[1].megabytes)
    for repo, _ in known:
        if "florence-2" not in repo.lower():
            continue
        for folder in sorted((HubModel(repo).repo_folder / "snapshots").glob("*")):
            if HubModel(repo, folder.name).is_here:
                yield f"{repo}@{folder.name}"


def _is_florence(folder: str) -> bool:
    """Whether a folder is a whole Florence-2 that takes images of `RESOLUTION`."""
    try:
        if read_config(folder).get("model_type") != "florence2":
            return False
        limits = limits_of(folder)
        assert limits is not None, folder
        limits.check_resolution("resolution", RESOLUTION)
    except (StageError, ValueError, OSError):
        return False
    return True
