"""The second look at mirrored images: what it finds, its decoys, and the samples it looks at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.schema import HUMAN, REVIEWED, Annotations, Region, TextRegion
from stages.base import Sample, fold_of, held_out
from stages.embedded.scenes import PRETRAIN, render
from stages.florence.augment import mirrored
from stages.florence.refine import Refine
from stages.florence.refine_config import RefineConfig
from stages.florence.witness import Witness, WitnessConfig, decoy_regions
from stages.geometry import box_iou, iou

WIDTH = 192


@pytest.fixture(scope="module")
def witness() -> Witness:
    return Witness(WitnessConfig(model="nano", resolution=64, max_tokens=96, held_out=0.999))


def samples(count: int) -> list[Sample]:
    found = []
    for number in range(count):
        scene = render(PRETRAIN, 11, number)
        sample = Sample(
            key=f"s{number}",
            size=(WIDTH, WIDTH),
            round=1,
            annotations=scene.truth,
            image=scene.image,
        )
        found.append(sample)
    return found


def said_of(witness: Witness, batch: list[Sample]) -> list[Annotations]:
    results = []
    for result in witness(batch):
        assert isinstance(result, Annotations)
        results.append(result)
    return results


def by_source(regions: list[Region], source: str) -> list[Region]:
    return [region for region in regions if region.source == source]


def test_what_the_model_finds_lies_in_the_image_as_it_is_stored(witness: Witness) -> None:
    batch = samples(4)
    texts = triplets = 0
    overlaps: list[float] = []
    turned: list[float] = []
    for sample, result in zip(batch, said_of(witness, batch), strict=True):
        assert not any(annotation.id for annotation in result.all())
        assert result.text_regions == []
        found = by_source(result.regions, "mirrored")
        true = [region.box for region in sample.annotations.regions]
        wrong = [region.box for region in mirrored(sample).annotations.regions]
        boxes = [region.box for region in found]
        overlaps += box_iou(true, boxes).max(1, initial=0.0).tolist()
        turned += box_iou(wrong, boxes).max(1, initial=0.0).tolist()
        *found_texts, looked = result.texts
        assert (looked.source, looked.text) == ("looked", "")
        for annotation in (*found_texts, *found, *result.triplets):
            assert annotation.source == "mirrored" and annotation.support is not None
        texts += len(found_texts)
        briefs = {text.id for text in sample.annotations.texts if text.granularity == "brief"}
        assert {triplet.text_id for triplet in result.triplets} <= briefs
        triplets += len(result.triplets)
    assert texts == len(batch) and triplets > 0
    # The nano model has learned little: its boxes are rough, but not on the wrong side.
    assert sum(overlaps) > 1.5 * sum(turned)


def test_it_is_the_first_look_at_the_mirrored_sample(witness: Witness) -> None:
    (sample,) = samples(1)
    shape = replace(sample, annotations=replace(sample.annotations, triplets=[]))
    config = RefineConfig(model="nano", resolution=64, max_tokens=96)
    first = Refine(config)([mirrored(shape)])[0]
    assert isinstance(first, Annotations)
    (second,) = said_of(witness, [sample])
    new = first.where(lambda annotation: not annotation.id)
    assert [text.text for text in second.texts] == [*(text.text for text in new.texts), ""]
    found = by_source(second.regions, "mirrored")
    assert [(r.phrase, r.brief) for r in found] == [(r.phrase, r.brief) for r in new.regions]
    for ours, theirs in (
        *zip(found, new.regions, strict=True),
        *zip(second.triplets, new.triplets, strict=True),
    ):
        x1, y1, x2, y2 = theirs.box
        assert ours.box == pytest.approx((WIDTH - x2, y1, WIDTH - x1, y2))
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)


def test_decoys_are_old_regions_at_places_where_nothing_true_stands(witness: Witness) -> None:
    batch = samples(6)
    decoys = 0
    for sample, result in zip(batch, said_of(witness, batch), strict=True):
        shown = {region.id: region for region in sample.annotations.regions}
        true = mirrored(sample).annotations.regions
        expected = []
        for region in shown.values():
            if all(iou(region.box, other.box) < 0.3 for other in true):
                expected.append(region.id)
        found = by_source(result.regions, "decoy")
        assert [decoy.parents for decoy in found] == [[name] for name in expected]
        for decoy in found:
            old = shown[decoy.parents[0]]
            assert (decoy.box, decoy.phrase, decoy.brief) == (old.box, old.phrase, old.brief)
            assert decoy.support is not None and decoy.support <= 0
            assert decoy.score is None and decoy.mask is None
        decoys += len(found)
    assert decoys >= 6


def test_the_model_believes_true_regions_and_no_decoys(witness: Witness) -> None:
    batch = samples(12)
    first = witness.refine(batch)
    lower = []
    for result, judged in zip(said_of(witness, batch), first, strict=True):
        assert isinstance(judged, Annotations)
        support = {region.id: region.support for region in judged.regions}
        for decoy in by_source(result.regions, "decoy"):
            at_its_place = support[decoy.parents[0]]
            assert decoy.support is not None and at_its_place is not None
            lower.append(decoy.support < at_its_place)
    assert sum(lower) >= 0.7 * len(lower) > 0  # half by chance


def test_a_region_in_the_middle_or_of_a_person_is_no_decoy() -> None:
    middle = Region(id="m", box=(80, 0, 110, 50), phrase="cup")
    side = Region(id="s", box=(10, 0, 40, 50), phrase="cup")
    human = Region(id="h", source=HUMAN, box=(20, 100, 40, 150), phrase="cup")
    opposite = Region(id="o", box=(150, 0, 182, 50), phrase="dog")
    shown = [middle, side, human]
    annotations = Annotations(regions=[*shown, opposite])
    (sample,) = samples(1)
    true = mirrored(replace(sample, annotations=annotations)).annotations.regions
    assert decoy_regions(shown, true[:3]) == [side]
    assert decoy_regions([*shown, opposite], true) == []


def test_only_samples_of_the_fold_are_looked_at(witness: Witness) -> None:
    batch = samples(12)
    config = replace(witness.config, tasks=("<CAPTION>",), support=(), folds=2)
    for fold in (0, 1):
        results = said_of(Witness(replace(config, fold=fold)), batch)
        asked = [fold_of(sample.key, 2) == fold for sample in batch]
        assert [len(result.texts) == 2 for result in results] == asked
        assert 0 < sum(asked) < len(batch)


def test_only_held_out_samples_get_decoys(witness: Witness) -> None:
    batch = samples(12)
    config = replace(witness.config, held_out=0.5, tasks=("<CAPTION>",))
    chosen = []
    for sample, result in zip(batch, said_of(Witness(config), batch), strict=True):
        decoys = by_source(result.regions, "decoy")
        is_chosen = held_out(sample.key, 0.5)
        assert len(result.texts) == 2 and (is_chosen or not decoys)
        chosen.append((is_chosen, bool(decoys)))
    assert {(True, True), (False, False)} <= set(chosen)


def test_results_do_not_depend_on_the_batch(witness: Witness) -> None:
    batch = samples(3)
    together = said_of(witness, batch)
    for sample, other in zip(batch, together, strict=True):
        (alone,) = said_of(witness, [sample])
        assert [text.text for text in alone.texts] == [text.text for text in other.texts]
        assert [region.box for region in alone.regions] == [region.box for region in other.regions]
        assert [region.support for region in alone.regions] == pytest.approx(
            [region.support for region in other.regions], abs=1e-4
        )


def test_a_sample_with_a_label_that_names_a_side_gives_nothing(witness: Witness) -> None:
    (sample,) = samples(1)
    regions = list(sample.annotations.regions)
    regions[0] = replace(regions[0], brief="left hand")
    named = replace(sample, annotations=replace(sample.annotations, regions=regions))
    assert said_of(witness, [named]) == [Annotations()]
    regions[0] = replace(regions[0], dropped="low_score")
    dropped = replace(sample, annotations=replace(sample.annotations, regions=regions))
    (result,) = said_of(witness, [dropped])
    shown = {region.id for region in regions[1:]}
    decoys = by_source(result.regions, "decoy")
    assert result.texts and decoys
    assert shown.issuperset(decoy.parents[0] for decoy in decoys)


def test_decoys_of_labels_that_a_review_has_dropped_are_dropped(witness: Witness) -> None:
    batch = samples(6)
    for sample, before in zip(batch, said_of(witness, batch), strict=True):
        regions = [replace(region, dropped=REVIEWED) for region in sample.annotations.regions]
        reviewed = replace(sample, annotations=replace(sample.annotations, regions=regions))
        (result,) = said_of(witness, [reviewed])
        decoys = by_source(result.regions, "decoy")
        assert len(decoys) == len(by_source(before.regions, "decoy"))
        assert {decoy.dropped for decoy in decoys} <= {REVIEWED}


def test_words_in_the_image_are_not_read_in_a_mirror(witness: Witness) -> None:
    (sample,) = samples(1)
    word = TextRegion(id="w", quad=(0, 0, 9, 0, 9, 9, 0, 9), text="STOP")
    written = replace(sample, annotations=replace(sample.annotations, text_regions=[word]))
    tasks = (*witness.config.tasks, "<OCR_WITH_REGION>")
    reader = Witness(replace(witness.config, tasks=tasks))
    assert said_of(reader, [written]) == said_of(witness, [sample])


def test_an_empty_batch_and_a_sample_without_labels_are_normal(witness: Witness) -> None:
    assert witness([]) == []
    (sample,) = samples(1)
    (result,) = said_of(witness, [replace(sample, annotations=Annotations())])
    assert result.texts and not by_source(result.regions, "decoy")
