"""Questions and answers to fine-tune Florence-2 with: `fld export florence`.

    SPLIT.jsonl             a line for each example: {"image", "prefix", "suffix"}
    images/SPLIT/KEY.jpg    the stored images

The examples are those of our own training (`stages/florence/tasks.py`): `prefix` is the question as
the processor of Florence-2 writes it out, `suffix` the answer with its location tokens. A line
names its image by the path in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO

from pipeline.release.export_folder import ExportFolder
from pipeline.release.exported import Export
from pipeline.rows import Record


def write_florence(
    export: Export,
    folder: ExportFolder,
    tokens: Sequence[str] = (),
) -> dict[str, int]:
    """Write the files into an empty folder; returns how many images and examples they hold.

    Args:
        export: what is exported.
        folder: an empty folder.
        tokens: the tasks, such as `<OD>`; empty for all that the labels give examples of.

    Raises:
        ValueError: there is no such task.
    """
    from stages.florence.tasks import check_tasks

    check_tasks("--task", tokens)
    images = examples = 0
    with ExitStack() as stack:
        files: dict[str, IO[str]] = {}
        for sample in export.samples():
            if sample.split not in files:
                path = folder.path / f"{sample.split}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                files[sample.split] = stack.enter_context(path.open("w", encoding="utf-8"))
            image = folder.add_image(sample, f"images/{sample.split}")
            images += 1
            for prefix, suffix in examples_of(sample.record, tokens):
                line = {"image": image, "prefix": prefix, "suffix": suffix}
                files[sample.split].write(json.dumps(line, ensure_ascii=False) + "\n")
                examples += 1
    return {"images": images, "examples": examples}


def examples_of(record: Record, tokens: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """(question, answer) of each example that the labels of a sample give."""
    from stages.florence.tasks import TASKS

    size = (record.width, record.height)
    for token in tokens or TASKS:
        for example in TASKS[token].examples(record.annotations, size):
            # A mask that is too small for an outline gives no answer.
            if example.target:
                yield example.prompt, example.target
