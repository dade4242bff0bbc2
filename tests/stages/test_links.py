"""Texts and triplets follow the regions that they were made from."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.config.compose import compose
from pipeline.config.order import completing, order_of
from pipeline.config.parse import parse
from pipeline.config.run import Entry, RunConfig
from pipeline.schema import HUMAN, Annotations, Region, Text, TextRegion, Triplet
from stages.base import Sample
from stages.embedded.scenes import DEMO, render
from stages.links import follow
from stages.registry import load
from tests.stages.specialists.test_chain import chain

BOX = (0.0, 0.0, 9.0, 9.0)
STAR = Region(id="r", box=BOX, phrase="star", brief="red star", dropped="low_score")
TEXT = Text(id="t", granularity="brief", text="A red star sits alone.", parents=["r"])
TRIPLET = Triplet(
    id="p", text_id="t", phrase="A red star", start=0, end=10, box=BOX, parents=["t", "r"]
)


def followed(*regions: Region, text: Text = TEXT, triplet: Triplet = TRIPLET) -> Annotations:
    return follow(Annotations(texts=[text], regions=list(regions), triplets=[triplet]))


def test_what_was_made_from_a_dropped_region_is_dropped() -> None:
    found = followed(STAR)
    assert [text.dropped for text in found.texts] == ["region_dropped"]
    assert [triplet.dropped for triplet in found.triplets] == ["text_dropped"]


def test_nothing_happens_while_the_region_is_kept() -> None:
    assert len(followed(replace(STAR, dropped=None))) == 0


def test_a_models_text_stays_but_its_triplet_goes_with_the_region() -> None:
    found = followed(STAR, text=replace(TEXT, parents=[]))
    assert found.texts == []
    assert [triplet.dropped for triplet in found.triplets] == ["region_dropped"]


def test_a_box_of_a_grounder_is_no_region_and_stays() -> None:
    found = followed(STAR, text=replace(TEXT, parents=[]), triplet=replace(TRIPLET, parents=["t"]))
    assert len(found) == 0


def test_a_region_that_moved_takes_its_texts_and_triplets_along() -> None:
    moved = replace(STAR, id="r1", dropped=None, parents=["r"])
    found = followed(replace(STAR, dropped="reshaped"), moved)
    assert [text.parents for text in found.texts] == [["r1"]]
    assert [(t.parents, t.dropped) for t in found.triplets] == [(["t", "r1"], None)]


@pytest.mark.parametrize(
    ("name", "brief", "text", "triplet"),
    [
        ("star", "blue star", "region_dropped", "text_dropped"),
        ("circle", "red circle", "region_dropped", "text_dropped"),
    ],
)
def test_a_renamed_region_makes_a_composed_text_wrong(
    name: str, brief: str, text: str, triplet: str
) -> None:
    new = replace(STAR, id="r1", phrase=name, brief=brief, dropped=None, parents=["r"])
    found = followed(replace(STAR, dropped="relabelled"), new)
    assert [one.dropped for one in found.texts] == [text]
    assert [one.dropped for one in found.triplets] == [triplet]


def test_a_triplet_follows_a_region_of_the_same_category_only() -> None:
    own = replace(TEXT, parents=[])
    blue = replace(STAR, id="r1", brief="blue star", dropped=None, parents=["r"])
    (triplet,) = followed(replace(STAR, dropped="relabelled"), blue, text=own).triplets
    assert (triplet.dropped, triplet.parents) == (None, ["t", "r1"])
    circle = replace(blue, phrase="circle")
    (triplet,) = followed(replace(STAR, dropped="relabelled"), circle, text=own).triplets
    assert triplet.dropped == "region_dropped"


def test_a_fused_triplet_goes_with_the_region_of_its_members() -> None:
    old = replace(TRIPLET, dropped="fused")
    new = replace(TRIPLET, id="p1", parents=["p"])
    own = replace(TEXT, parents=[])
    found = follow(Annotations(texts=[own], regions=[STAR], triplets=[old, new]))
    assert [(t.id, t.dropped) for t in found.triplets] == [("p1", "region_dropped")]


MOVED = [replace(TRIPLET, dropped="reshaped"), replace(TRIPLET, id="p1", parents=["p"])]
CONFIRMED = [TRIPLET, replace(TRIPLET, id="p1", parents=["p"], dropped="agrees")]


@pytest.mark.parametrize("triplets", [MOVED, CONFIRMED])
def test_a_triplet_that_a_model_found_again_stays_without_its_region(
    triplets: list[Triplet],
) -> None:
    own = replace(TEXT, parents=[])
    gone = replace(STAR, dropped="not_supported")
    assert len(follow(Annotations(texts=[own], regions=[gone], triplets=triplets))) == 0


@pytest.mark.parametrize(("triplets", "kept"), [(MOVED, "p1"), (CONFIRMED, "p")])
def test_a_triplet_that_a_model_found_again_goes_if_its_region_is_renamed(
    triplets: list[Triplet], kept: str
) -> None:
    own = replace(TEXT, parents=[])
    old = replace(STAR, dropped="relabelled")
    circle = replace(STAR, id="r1", phrase="circle", dropped=None, parents=["r"])
    found = follow(Annotations(texts=[own], regions=[old, circle], triplets=triplets))
    assert [(t.id, t.dropped) for t in found.triplets] == [(kept, "region_dropped")]


def test_a_text_that_quotes_a_dropped_string_is_dropped() -> None:
    read = TextRegion(id="o", quad=(0, 0, 9, 0, 9, 9, 0, 9), text="STOP", dropped="low_score")
    text = replace(TEXT, text="A text reads STOP.", parents=["o"])
    found = follow(Annotations(texts=[text], text_regions=[read]))
    assert [text.dropped for text in found.texts] == ["region_dropped"]


def test_human_labels_never_follow() -> None:
    human = replace(TEXT, source=HUMAN)
    found = followed(STAR, text=human, triplet=replace(TRIPLET, source=HUMAN))
    assert len(found) == 0


PHOTOS = ["experiment=photos", "source.path=x", "specialists.detect.use=contours"]
STARS_OUT = "filters.region.min_scores={/star: 1.1}"


def run_of(*overrides: str) -> RunConfig:
    return parse(compose(list(overrides)))


def stages_of(entries: list[Entry]) -> dict[str, Any]:
    return {entry.name: load(entry.use)[0](entry.options) for entry in entries}


def scenes(count: int = 16) -> list[Sample]:
    rendered = [render(DEMO, 5, number).image for number in range(count)]
    return [
        Sample(key=str(number), size=(192, 192), image=image)
        for number, image in enumerate(rendered)
    ]


def check_links(samples: list[Sample], excluded: str) -> None:
    """No kept triplet points at a dropped region; no kept text names a class that has no region."""
    for sample in samples:
        kept = sample.annotations.kept()
        standing = {item.id for item in (*kept.regions, *kept.text_regions)}
        places = {item.id for item in sample.annotations.regions}
        places |= {item.id for item in sample.annotations.text_regions}
        for item in (*kept.texts, *kept.triplets):
            linked = set(item.parents) & places
            assert linked and linked <= standing
        assert not any(region.phrase == excluded for region in kept.regions)
        assert not any(excluded in text.text for text in kept.texts)


@pytest.mark.parametrize("recipe", [[], PHOTOS], ids=["demo", "photos"])
def test_an_excluded_class_is_in_no_text_and_no_triplet(recipe: list[str]) -> None:
    order = order_of(run_of(*recipe, STARS_OUT))
    entries = [*order.finders, *order.deciders, *order.composers, *order.filters]
    samples = chain(scenes(), stages_of(entries))
    found = [region for sample in samples for region in sample.annotations.regions]
    assert any(region.phrase == "star" for region in found)
    check_links(samples, "star")
    assert sum(len(sample.annotations.kept().texts) for sample in samples) > len(samples)


def test_a_round_that_drops_a_class_writes_the_texts_anew() -> None:
    run = run_of()
    order = order_of(run)
    entries = [*order.finders, *order.deciders, *order.composers, *order.filters]
    samples = chain(scenes(), stages_of(entries))
    before = [text for sample in samples for text in sample.annotations.kept().texts]
    assert any("star" in text.text for text in before)

    # As if the merge of round 1 had found that no star is supported.
    later = [without_stars(sample) for sample in samples]
    names = completing(run)
    due = [entry for entry in (*order.finders, *order.composers) if entry.name in names]
    finders = [entry for entry in due if entry in order.finders]
    composers = [entry for entry in due if entry in order.composers]
    later = chain(later, stages_of([*finders, *order.deciders, *composers, *order.filters]))
    check_links(later, "star")
    for sample, old in zip(later, samples, strict=True):
        if sample.annotations.kept().regions:
            assert len(sample.annotations.kept().texts) == len(old.annotations.kept().texts)


def without_stars(sample: Sample) -> Sample:
    regions = []
    for region in sample.annotations.regions:
        if region.phrase == "star" and region.dropped is None:
            region = replace(region, dropped="not_supported")
        regions.append(region)
    return replace(sample, round=1, annotations=replace(sample.annotations, regions=regions))
