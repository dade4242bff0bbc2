"""`fld label DIR`: a folder of photos becomes labels, by the best weights that are here."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.commands.group import CommandGroup, Output, add_keep_going, add_overrides

if TYPE_CHECKING:
    from pipeline.config.run import RunConfig
    from pipeline.models.found import Weights

# Workers for the stages: more do not pay for a folder of photos on one machine.
MOST_WORKERS = 8
# The setting that names the detector.
DETECTOR = "specialists.detect.weights"


def add_commands(group: CommandGroup) -> None:
    """Register the command."""
    command = group.add(
        "label",
        "a folder of photos: labels, a report and COCO files",
        description="Label a folder of photos with the best weights that are on this machine,"
        " write a report and export COCO files. The same command resumes, and takes photos that"
        " were added.",
    )
    command.add_argument("folder", metavar="DIR", help="the folder of photos, at any depth")
    command.add_argument("--out", metavar="WORK", help="the work folder (default: work/NAME)")
    command.add_argument(
        "--models",
        metavar="FOLDER",
        action="append",
        help="look for weights in this folder; may repeat (default: ., models, weights, and the "
        "cache of models)",
    )
    add_overrides(
        command,
        "settings of fld run: source.limit=100, refine.rounds=1 (a round of refinement) ...",
    )
    add_keep_going(command)
    command.set_defaults(command=label)


def label(args: argparse.Namespace) -> Output:
    """Find weights, label, and export what was found as COCO."""
    from pipeline.commands.configuration import configuration
    from pipeline.commands.label import run_once
    from pipeline.config.validation import MissingSettings
    from pipeline.models.found import PLACES, find_weights

    folder = args.folder
    _check_photos(folder)
    places = args.models or PLACES
    for place in args.models or ():
        _check_folder(place, "--models ")
    weights = find_weights(places)
    work = args.out or f"work/{os.path.basename(os.path.abspath(folder))}"
    words = [
        *weights.recipe(),
        f"source.path={folder}",
        f"work={work}",
        "refine.rounds=0",
        f"cluster.workers={min(_cores(), MOST_WORKERS)}",
    ]
    words += args.overrides
    try:
        one = configuration(argparse.Namespace(config=None, overrides=words))
    except MissingSettings as error:
        if list(error.examples) == [DETECTOR]:
            raise ValueError(_nothing_found(places)) from None
        raise
    print(f"fld: {_used(one.config)}", file=sys.stderr)
    summary = run_once(one, args.keep_going)
    coco = _export(one.config.work)
    for line in _better(weights, folder):
        print(f"fld: {line}", file=sys.stderr)
    return Output(text=f"{summary}\ncoco: {coco}")


def _check_photos(folder: str) -> None:
    """Check that there are photos, before the user gets weights for them.

    Raises:
        ValueError: the folder does not exist or holds none.
    """
    from stages.source import SUFFIXES

    if "://" in folder:
        return
    _check_folder(folder, "")
    for _, _, names in os.walk(folder):
        if any(name.lower().endswith(SUFFIXES) for name in names):
            return
    raise ValueError(f"{folder}: no photos in it; looked for {', '.join(SUFFIXES)}")


def _check_folder(folder: str, where: str) -> None:
    """Check that a folder exists; `where` begins the message.

    Raises:
        ValueError: it does not, or it is a file.
    """
    if os.path.isfile(folder):
        raise ValueError(f"{where}{folder}: it is a file; give the folder that it is in")
    if not os.path.isdir(folder):
        raise ValueError(f"{where}{folder}: no such folder")


def _used(run: RunConfig) -> str:
    """What labels the photos, in one line. The user may have set other stages or weights."""
    options: dict[str, Any] = {entry.use: entry.options for entry in run.specialists.values()}
    if "florence" in options:
        return f"labels by Florence-2: {options['florence'].model}"
    if "yolox" in options and "rapidocr" in options:
        return f"labels by the detector {options['yolox'].weights}, RapidOCR and composed captions"
    return f"labels by {', '.join(run.specialists)}"


def _better(weights: Weights, folder: str) -> list[str]:
    """What better weights would bring and the commands that get them, one line for each."""
    from pipeline.models.catalogue import catalogue

    proposed = catalogue().proposed("yolox")
    file = catalogue().files[proposed]
    lines = []
    is_small = (
        weights.detector is not None and weights.detector.stat().st_size < file.bytes * 3 // 4
    )
    if is_small and not weights.uses_florence:
        lines.append(
            f"more boxes: `fld models fetch experiment=photos` ({proposed}, {file.size}, "
            f"{file.says}), then this command again"
        )
    lines.append(
        "captions by a model, on a GPU: `fld models fetch experiment=one_gpu` (about 22 GB), then "
        f"`fld run experiment=one_gpu source.path={shlex.quote(folder)}`"
    )
    return lines


def _nothing_found(places: Sequence[str]) -> str:
    """That there is nothing to label with, and how to get it, in one line."""
    from pipeline.models.catalogue import catalogue
    from pipeline.models.found import searched

    proposed = catalogue().proposed("yolox")
    size = catalogue().files[proposed].size
    return (
        "no weights here; `fld models fetch experiment=photos` gets a detector "
        f"({proposed}, {size}), or give the folder of yours by --models FOLDER. Looked for a "
        f"YOLOX (.onnx) and a Florence-2 in {', '.join(searched(places))}"
    )


def _export(work: str) -> str:
    """Export the labels as COCO files beside the report; what they hold, in one line."""
    from pipeline.commands.publish import export_coco
    from pipeline.storage import layout
    from pipeline.storage.store import Store

    store = Store(work)
    if not store.local:
        return f"give a folder here: `fld export coco {work} OUT`"
    out = store.path(layout.COCO_EXPORT)
    arguments = argparse.Namespace(round=work, out=out, source=[], categories=None, results=False)
    Path(out).mkdir(parents=True, exist_ok=True)
    return export_coco(arguments).text


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))
