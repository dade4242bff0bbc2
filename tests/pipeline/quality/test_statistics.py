from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from pipeline.quality.figures import figure5
from pipeline.quality.histograms import ASPECT, BINS
from pipeline.quality.statistics import Statistics
from pipeline.quality.table2 import annotation_totals
from pipeline.quality.tables import PAPER_2, PAPER_3, markdown
from pipeline.schema import Annotations, Box, Parse, Region, Text, TextRegion, Triplet

MILLION = 1_000_000


def parse(tokens: int, objects: int, degree: float) -> Parse:
    return Parse(
        tokens=tokens,
        objects=["x"] * objects,
        attributes=["red"],
        actions=[],
        proper_nouns=[],
        object_complexity=4,
        action_complexity=0,
        object_complexity_mean=degree,
        action_complexity_mean=0.0,
        noun_phrases=[],
    )


def text(
    id_: str, granularity: str = "brief", said: str = "a red dog", found: Parse | None = None
) -> Text:
    return Text(id=id_, source="caption", granularity=granularity, text=said, parse=found)  # type: ignore[arg-type]


def region(box: Box = (0, 0, 50, 50), **more: object) -> Region:
    return Region(
        **{"source": "detect", "box": box, "phrase": "dog", "brief": "small red dog", **more}
    )


def triplet(text_id: str, phrase: str = "a red dog") -> Triplet:
    return Triplet(
        source="ground", text_id=text_id, phrase=phrase, start=0, end=9, box=(0, 0, 50, 50)
    )


def samples() -> list[Annotations]:
    first = Annotations(
        [
            text("t", found=parse(3, 1, 2.0)),
            text("d", "detailed", "One. Two!"),
            text("u", found=parse(5, 2, 3.0)),
        ],
        [region(), region(brief=None), region(dropped="nms")],
        [TextRegion(source="ocr", quad=(0, 0, 1, 0, 1, 1, 0, 1), text="x")],
        [triplet("t"), triplet("t"), triplet("d", "two")],
    )
    return [first, Annotations(regions=[region(dropped="nms")])]


def statistics() -> Statistics:
    counted = Statistics()
    for said in samples():
        counted.add(said, (100, 100))
    return counted


def test_totals_of_the_published_table_are_those_of_the_paper() -> None:
    assert annotation_totals(PAPER_2) == {
        "text": 487 * MILLION,
        "region_text": 1362 * MILLION,
        "text_phrase_region": 3574 * MILLION,
        "total": 5423 * MILLION,
    }


def test_the_published_averages_follow_from_the_published_counts() -> None:
    images = 125.7 * MILLION
    for row in PAPER_2[3:]:
        owners = images if row["type"] == "region_text" else row["image_annotations"]
        owners = images if row["image_annotations"] == 126 * MILLION else owners
        assert row["regions"] / owners == pytest.approx(row["average_regions"], rel=0.006)
    assert PAPER_3["detailed"]["tokens"] / PAPER_3["brief"]["tokens"] == pytest.approx(
        3.98, abs=0.01
    )


def test_table_2_counts_texts_regions_and_pairs_once_each() -> None:
    rows = {(row["type"], row["text"]): row for row in statistics().to_dict()["table2"]}
    brief = {"type": "text", "text": "brief", "image_annotations": 2, "tokens": 4.0}
    assert rows["text", "brief"].items() >= brief.items()
    assert rows["text", "detailed"]["tokens"] == 2.0
    phrase, chosen = rows["region_text", "phrase"], rows["region_text", "brief"]
    assert (phrase["image_annotations"], phrase["regions"], phrase["average_regions"]) == (
        2,
        2,
        1.0,
    )
    assert (phrase["regional_tokens"], chosen["regions"], chosen["regional_tokens"]) == (
        1.0,
        1,
        3.0,
    )
    pairs = rows["text_phrase_region", "brief"]
    assert (pairs["regions"], pairs["average_regions"], pairs["regional_tokens"]) == (2, 1.0, 3.0)
    assert statistics().to_dict()["annotations"] == {
        "text": 3,
        "region_text": 3,
        "text_phrase_region": 3,
        "total": 9,
    }


def test_table_3_means_over_parsed_texts() -> None:
    table = statistics().to_dict()["table3"]
    assert set(table) == {"brief"}
    assert table["brief"] == {
        "image_annotations": 2,
        "tokens": 4.0,
        "objects": 1.5,
        "attributes": 1.0,
        "actions": 0.0,
        "proper_nouns": 0.0,
        "object_complexity": 2.5,
        "action_complexity": 0.0,
    }


def test_sources_and_reasons_add_up_to_all_annotations() -> None:
    found = statistics().to_dict()
    assert found["sources"]["regions"] == {"detect": 2} and found["dropped"]["regions"] == {
        "nms": 2
    }
    counted = sum(
        n for part in ("sources", "dropped") for kind in found[part].values() for n in kind.values()
    )
    assert counted == sum(map(len, samples()))


def test_sums_of_shards_equal_the_sum_of_all() -> None:
    parts = [Statistics(), Statistics()]
    for part, said in zip(parts, samples(), strict=True):
        part.add(said, (100, 100))
    parts[0].merge(parts[1])
    assert parts[0].to_dict() == statistics().to_dict()


def test_figure_5_bins_size_aspect_and_centre() -> None:
    counted = Statistics()
    counted.add(Annotations(regions=[region((20, 40, 60, 50)), region((5, 5, 5, 9))]), (100, 50))
    found = counted.to_dict()["figure5"]["regions"]
    assert found["boxes"] == 1  # the box without an area is left out
    assert np.argmax(found["area"]) == int(math.sqrt(0.4 * 0.2) * BINS)
    assert np.argmax(found["aspect"]) == int((math.log(4) + ASPECT) / (2 * ASPECT) * BINS)
    assert np.array(found["centre"])[int(0.9 * BINS), int(0.4 * BINS)] == 1
    assert np.sum(found["area"]) / BINS == pytest.approx(1)
    assert np.sum(found["aspect"]) * 2 * ASPECT / BINS == pytest.approx(1)


def test_an_empty_round_has_statistics() -> None:
    empty = Statistics().to_dict()
    assert empty["annotations"]["total"] == 0 and empty["table3"] == {}
    assert "FLD-5B" in markdown("nothing", empty)


def test_markdown_shows_our_numbers_beside_the_papers() -> None:
    page = markdown("demo", statistics().to_dict())
    assert "| demo | this engine | 2 | 9 |" in page
    assert "| text | brief | 2 (235M) | 4.00 (7.95) | - | - | - |" in page
    assert "| objects | 1.50 (3.23) |" in page
    assert "| regions | nms | 2 |" in page


def test_figure_5_is_a_picture() -> None:
    with Image.open(io.BytesIO(figure5(statistics().to_dict()))) as picture:
        assert picture.format == "PNG" and picture.width > 1000
