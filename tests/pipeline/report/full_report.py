"""A report with everything that its page shows: two rounds, a sample that changed, failures."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipeline.quality.ranking import Ranked
from pipeline.report.views import FailedView, PictureView, ReportData, RoundView
from pipeline.rows import Failure
from pipeline.schema import Annotations, Box, Region, Text, TextRegion, Triplet
from stages.geometry import encode_mask

FIRST, SECOND = "00-aa", "01-bb"
LEFT: Box = (8, 8, 40, 40)
RIGHT: Box = (60, 20, 90, 50)
QUAD = (5, 50, 25, 50, 25, 58, 5, 58)


def region(id_: str, box: Box, **more: object) -> Region:
    return Region(**{"id": id_, "source": "detect", "box": box, "phrase": "cup", **more})


def before() -> Annotations:
    """Three texts and regions with words and phrases, one for each of the six views."""
    pixels = np.zeros((64, 100), np.uint8)
    pixels[8:40, 8:40] = 1
    texts = [
        Text(id="brief", source="caption", granularity="brief", text="A \U0001f600 red cup."),
        Text(id="long", source="describe", granularity="detailed", text="A red cup by a dog."),
        Text(id="most", source="describe", granularity="more_detailed", text="A cup and a dog."),
    ]
    triplets = [
        Triplet(
            id="p0", source="ground", text_id="brief", phrase="red cup", start=4, end=11, box=LEFT
        ),
        Triplet(
            id="p1", source="ground", text_id="long", phrase="A red cup", start=0, end=9, box=LEFT
        ),
        Triplet(
            id="p2", source="ground", text_id="long", phrase="a dog", start=13, end=18, box=RIGHT
        ),
        Triplet(
            id="p3", source="ground", text_id="most", phrase="a dog", start=10, end=15, box=RIGHT
        ),
    ]
    regions = [
        region("cup", LEFT, brief="red cup", mask=encode_mask(pixels), score=0.9),
        region("dog", RIGHT, phrase="dog", score=0.4),
        region("ghost", (0, 0, 5, 5), phrase="ghost", score=0.1, dropped="low_score"),
    ]
    words = [TextRegion(id="word", source="ocr", quad=QUAD, text="<b>GO</b>", score=0.7)]
    return Annotations(texts, regions, words, triplets)


def after() -> Annotations:
    """The same, but the dog is now another dog, and the merge is less sure of the cup."""
    old = before()
    regions = [
        region("cup", LEFT, brief="red cup", score=0.9, confidence=0.3, agreement=0.5),
        region("dog", RIGHT, phrase="dog", score=0.4, dropped="relabelled"),
        region(
            "1.dog", RIGHT, source="refine", round=1, phrase="cat", parents=["dog"], confidence=0.8
        ),
    ]
    return Annotations(old.texts, regions, old.text_regions, old.triplets)


def picture(key: str, colour: str, **more: object) -> PictureView:
    file = io.BytesIO()
    Image.new("RGB", (100, 64), colour).save(file, "PNG")
    return PictureView(**{"key": key, "image": file.getvalue(), "size": (100, 64), **more})


def full_report() -> ReportData:
    """26 of 900 samples, so two pages: one that changed, one that failed, and 24 without labels.

    The rankings are those of all samples, so they need not follow from the labels shown here.
    """
    sure = [Ranked("failed", 0.75)]
    unsure = [Ranked("changed", 0.45), Ranked("not shown", 0.44), Ranked("failed", 0.4)]
    rounds = [
        RoundView(name=FIRST, status="accepted", kept={}, least_sure=sure),
        RoundView(
            name=SECOND,
            status="accepted",
            kept={},
            parent=FIRST,
            least_sure=unsure,
            most_changed=[Ranked("changed", 1)],
        ),
    ]
    empty = {FIRST: Annotations(), SECOND: Annotations()}
    failure = Failure(stage="ocr", reason="out_of_memory")
    single = Annotations(regions=[region("only", LEFT, confidence=0.6)])
    pictures = [
        picture(
            "failed", "grey", rounds={FIRST: single, SECOND: single}, failures={SECOND: [failure]}
        ),
        picture("changed", "teal", rounds={FIRST: before(), SECOND: after()}, truth=before()),
    ]
    for number in range(24):
        pictures.append(picture(f"empty-{number}", "white", rounds=empty))
    broken = FailedView(
        key="half", name="b/half.jpg", stage="ingest", reason="truncated", detail="<b>39 bytes</b>"
    )
    late = FailedView(key="failed", name="failed", stage="1.ocr", reason="out_of_memory")
    return ReportData(
        experiment="x",
        images=900,
        rounds=rounds,
        pictures=pictures,
        head=SECOND,
        failures=1234,
        failed=[broken, late],
    )
