"""`fld export coco`: the labels of a round as COCO's `instances.json` and `captions.json`.

Boxes and masks are on the grid of the stored, upright images. Human labels that came from COCO get their ids back, and
crowds their `iscrowd`; masks are run-length encodings, which pycocotools reads as it reads polygons. What was dropped
stays out.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.schema import Annotation, Record, Region

DECIMALS = 6  # of a pixel: takes away what adding and subtracting a box's corner left


def add(commands: Any) -> None:
    """Register the command on `fld`'s subparsers."""
    export = commands.add_parser("export", help="the labels of a round in another format")
    forms = export.add_subparsers(required=True, metavar="FORMAT")
    coco = forms.add_parser("coco", help="instances.json and captions.json")
    coco.add_argument("round", metavar="ROUND", help="WORK, or WORK/rounds/NN-...")
    coco.add_argument("out", metavar="OUT", help="the folder for the two files")
    coco.add_argument(
        "--source",
        action="append",
        help="only labels of this source (human, detect ...); may repeat",
    )
    coco.set_defaults(command=coco_command)


def coco_command(args: argparse.Namespace) -> int:
    from pipeline.storage.rounds import open_round

    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; give a folder")
    instances, captions = coco_of(open_round(args.round).records(), args.source)
    out.mkdir(parents=True, exist_ok=True)
    for name, value in (("instances.json", instances), ("captions.json", captions)):
        (out / name).write_text(json.dumps(value, ensure_ascii=False))
    boxes, texts = len(instances["annotations"]), len(captions["annotations"])
    print(f"{out}: {len(instances['images'])} images, {boxes} boxes, {texts} captions")
    return 0


def coco_of(
    records: Iterable[Record], sources: Sequence[str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(instances, captions) of the kept labels, or those of some sources."""
    from pipeline.schema import CROWD

    records = list(records)
    regions = [(r, a) for r in records for a in r.annotations.regions if _counts(a, sources)]
    texts = [(r, a) for r in records for a in r.annotations.texts if _counts(a, sources)]
    categories = {name: i for i, name in enumerate(sorted({a.phrase for _, a in regions}), 1)}
    images = image_ids(records)
    listed = [
        {"id": images[r.key], "file_name": r.name, "width": r.width, "height": r.height}
        for r in records
    ]
    boxes = [
        {
            "id": id_,
            "image_id": images[record.key],
            "category_id": categories[region.phrase],
            "iscrowd": int(region.dropped == CROWD),
            **_place(region),
        }
        for id_, (record, region) in zip(_ids([a for _, a in regions]), regions, strict=True)
    ]
    captions = [
        {"id": id_, "image_id": images[record.key], "caption": text.text}
        for id_, (record, text) in zip(_ids([a for _, a in texts]), texts, strict=True)
    ]
    named = [{"id": id_, "name": name} for name, id_ in categories.items()]
    return (
        {"images": listed, "annotations": boxes, "categories": named},
        {"images": listed, "annotations": captions},
    )


def image_ids(records: Sequence[Record]) -> dict[str, int]:
    """COCO's numbers where all images are named by them, as its own are; else 1, 2, ..."""
    stems = [record.name.rpartition("/")[2].partition(".")[0] for record in records]
    numbered = all(stem.isdecimal() for stem in stems) and len({*map(int, stems)}) == len(stems)
    return {
        r.key: int(stem) if numbered else i
        for i, (r, stem) in enumerate(zip(records, stems, strict=True), 1)
    }


def _counts(annotation: Annotation, sources: Sequence[str] | None) -> bool:
    from pipeline.schema import CROWD

    return annotation.dropped in (None, CROWD) and (not sources or annotation.source in sources)


def _ids(annotations: Sequence[Annotation]) -> Iterator[int]:
    """The number at the end of a human label's id, where it is one; other numbers for the rest."""
    own = [_number(a) for a in annotations]
    taken = {number for number in own if number is not None}
    free = (number for number in itertools.count(1) if number not in taken)
    given = set[int]()
    for number in own:
        chosen = number if number is not None and number not in given else next(free)
        given.add(chosen)
        yield chosen


def _number(annotation: Annotation) -> int | None:
    last = annotation.id.rpartition(".")[2]
    return int(last) if annotation.locked and last.isdecimal() else None


def _place(region: Region) -> dict[str, Any]:
    from pipeline.quality.coco import xywh

    box = [round(value, DECIMALS) for value in xywh(region.box)]
    if region.mask is None:
        return {"bbox": box, "area": round(box[2] * box[3], DECIMALS), "segmentation": []}
    from pycocotools import mask as rle

    encoding = {"size": list(region.mask.size), "counts": region.mask.counts}
    area = rle.area({**encoding, "counts": region.mask.counts.encode()})
    return {"bbox": box, "area": float(area), "segmentation": encoding}
