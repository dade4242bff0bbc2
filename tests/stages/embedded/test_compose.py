"""Sentences and paragraphs composed from boxes."""

from __future__ import annotations

from pipeline.schema import HUMAN, Annotations, Box, Region, Text, TextRegion
from stages.base import Sample
from stages.embedded.caption import CaptionConfig, ComposeCaption
from stages.embedded.describe import DescribeConfig, TemplateDescribe, place


def region(id: str, name: str, box: Box, score: float = 0.9, **more: object) -> Region:
    named = {"phrase": name.split()[-1], "brief": name, **more}
    return Region(id=id, box=box, score=score, **named)


BLOCK = region("r0", "large blue block", (10.0, 10.0, 100.0, 100.0))
STAR = region("r1", "red star", (30.0, 120.0, 80.0, 170.0), 0.6)
RING = region("r2", "small green ring", (130.0, 20.0, 160.0, 50.0))
SIGN = region("r3", "white sign", (100.0, 150.0, 180.0, 180.0))


def caption(*regions: Region, style: str = "demo", texts: tuple[Text, ...] = ()) -> list[Text]:
    sample = Sample(
        key="k", size=(192, 192), annotations=Annotations(texts=list(texts), regions=list(regions))
    )
    (result,) = ComposeCaption(CaptionConfig(style=style))([sample])
    return result.texts


def test_the_largest_thing_is_related_to_the_next() -> None:
    (text,) = caption(STAR, BLOCK, RING)
    assert text.text == "A large blue block hangs above a red star."
    assert (text.granularity, text.score, text.parents) == ("brief", 0.6, ["r0", "r1"])


def test_one_thing_sits_alone_and_none_is_not_spoken_of() -> None:
    assert [t.text for t in caption(STAR)] == ["A red star sits alone."]
    assert caption() == []


def test_a_sign_is_the_subject_only_where_nothing_else_is() -> None:
    assert [t.text for t in caption(SIGN, STAR)] == ["A red star sits alone."]
    assert [t.text for t in caption(SIGN)] == ["A white sign sits alone."]


def test_people_come_first_and_are_counted() -> None:
    people = [
        Region(id=f"p{i}", box=(40.0 * i, 0.0, 40.0 * i + 20, 40.0), phrase="person")
        for i in range(3)
    ]
    table = Region(id="t", box=(0.0, 100.0, 192.0, 190.0), phrase="dining table")
    assert [t.text for t in caption(table, *people, style="photo")] == [
        "There are three people and a dining table."
    ]
    assert [t.text for t in caption(*people[:2], style="photo")] == ["There are two people."]


def test_of_a_photo_only_sure_relations_are_stated_and_counts_are_by_category() -> None:
    table = region("t", "brown table", (0.0, 40.0, 190.0, 190.0), phrase="dining table")
    cup = region("c", "cup", (20.0, 60.0, 50.0, 90.0))
    red = region("d", "red cup", (80.0, 60.0, 120.0, 90.0))
    dog = region("e", "black dog", (120.0, 0.0, 190.0, 100.0))
    assert [t.text for t in caption(table, red, style="photo")] == [
        "A red cup is on a brown table."
    ]
    assert [t.text for t in caption(table, cup, red, style="photo")] == [
        "Two cups are on a brown table."
    ]
    assert [t.text for t in caption(table, dog, style="photo")] == [
        "There is a black dog and a brown table."
    ]
    assert describe(table, cup, red, dog, style="photo") == {
        "detailed": "There is a black dog and a brown table. There are two cups."
    }


def test_unsure_doubled_and_dropped_regions_are_not_spoken_of() -> None:
    double = region("r9", "large blue cross", (12.0, 10.0, 100.0, 100.0), 0.5)
    low = region("r8", "purple circle", (120.0, 100.0, 190.0, 190.0), 0.1)
    gone = region("r7", "purple circle", (120.0, 100.0, 190.0, 190.0), dropped="low_score")
    assert [t.text for t in caption(BLOCK, double, low, gone)] == ["A large blue block sits alone."]


def test_a_standing_machine_text_is_not_doubled_but_human_and_dropped_ones_do_not_count() -> None:
    mine = Text(id="t", source="refine", granularity="brief", text="A ring.")
    theirs = Text(id="h", source=HUMAN, granularity="brief", text="A ring.")
    gone = Text(id="d", source="caption", granularity="brief", text="A ring.", dropped="empty_text")
    assert caption(BLOCK, texts=(mine,)) == []
    assert len(caption(BLOCK, texts=(theirs, gone))) == 1


def describe(
    *regions: Region,
    read: tuple[TextRegion, ...] = (),
    both: bool = False,
    style: str = "demo",
) -> dict[str, str]:
    granularities = ("detailed", "more_detailed") if both else ("detailed",)
    sample = Sample(
        key="k",
        size=(192, 192),
        annotations=Annotations(regions=list(regions), text_regions=list(read)),
    )
    (result,) = TemplateDescribe(DescribeConfig(granularities=granularities, style=style))([sample])
    return {t.granularity: t.text for t in result.texts}


def text_region(text: str, score: float = 0.9, y: float = 155) -> TextRegion:
    return TextRegion(
        id=text, quad=(110.0, y, 170.0, y, 170.0, y + 20, 110.0, y + 20), text=text, score=score
    )


def test_the_detailed_text_goes_on_with_the_other_things_and_what_is_read() -> None:
    read = (text_region("EXIT"), text_region("blur", score=0.3), text_region("TAXI", y=20))
    assert describe(BLOCK, STAR, RING, SIGN, read=read) == {
        "detailed": "A large blue block hangs above a red star. "
        "A small green ring sits beside the large blue block. "
        "A white sign reads EXIT. A text reads TAXI."
    }


def test_the_more_detailed_text_adds_places() -> None:
    assert describe(STAR, both=True)["more_detailed"] == (
        "A red star sits alone. The red star sits in the lower left."
    )
    assert place((90.0, 90.0, 100.0, 100.0), (192, 192)) == "in the middle"


def test_an_empty_image_is_not_described() -> None:
    assert describe() == {}
