"""What holds for every merge, on random labels; and that merging improves labels, on scenes."""

import random
from collections import Counter
from dataclasses import replace

from pipeline.quality import truth
from pipeline.refinement.merge import merge
from pipeline.refinement.rules import MergeConfig
from pipeline.refinement.thresholds import count_judged, curves_of, thresholds_of
from pipeline.schema import Annotations, Region, Text, Triplet
from stages.links import follow
from tests.pipeline.labels import CONFIG, merged
from tests.pipeline.simulated import Quality, Simulated, noisy_scenes

GOOD = Quality()
Pairs = list[tuple[Annotations, Annotations]]


def test_the_result_does_not_depend_on_the_order_of_the_input() -> None:
    rng = random.Random(0)
    for _ in range(200):
        regions = random_regions(rng)
        expected = merged(*regions)
        rng.shuffle(regions)
        assert merged(*regions) == expected


def test_every_annotation_has_one_fate_and_whatever_replaces_another_names_it() -> None:
    rng = random.Random(1)
    for _ in range(300):
        regions = random_regions(rng)
        result = merged(*regions)
        assert set(result) == {region.id for region in regions}
        revised = merge(Annotations(regions=regions), 1, CONFIG).regions
        revisions = Counter(region.id for region in revised)
        assert max(revisions.values(), default=1) == 1
        kept = [region for region in result.values() if region.dropped is None]
        assert all(region.source for region in kept)
        parents = set()
        for region in kept:
            parents |= set(region.parents)
        replaced = set()
        for region in result.values():
            if region.dropped in ("relabelled", "reshaped"):
                replaced.add(region.id)
        assert replaced == parents & set(result)


def test_a_second_merge_with_a_model_that_agrees_changes_no_label() -> None:
    rng = random.Random(2)
    for _ in range(200):
        kept: list[Region] = []
        for region in merged(*random_regions(rng)).values():
            alone = not any(overlaps(region, other) for other in kept)
            if region.dropped is None and alone:
                kept.append(replace(region, round=0, support=-0.1))
        again = []
        for i, region in enumerate(kept):
            again.append(replace(region, id=f"1.again.regions.{i}", round=1, parents=[]))
        after = merged(*kept, *again)
        for region in kept:
            assert after[region.id].dropped is None
            assert after[region.id].box == region.box
        for region in again:
            assert after[region.id].dropped == "agrees"


def test_no_text_or_triplet_is_kept_without_its_region_after_a_merge() -> None:
    rng = random.Random(3)
    fates: Counter[str | None] = Counter()
    for _ in range(300):
        labels = with_texts(random_regions(rng))
        result = labels.overlaid(merge(labels, 1, CONFIG))
        result = result.overlaid(follow(result))
        standing = {region.id: region for region in result.regions if region.dropped is None}
        kept = result.kept()
        texts = {text.id: text for text in kept.texts}
        for text in texts.values():
            assert text.text == standing[text.parents[0]].phrase
        for triplet in kept.triplets:
            assert triplet.text_id in texts
            assert triplet.phrase == standing[triplet.parents[1]].phrase
        fates.update(triplet.dropped for triplet in result.triplets)
        assert len(follow(result)) == 0
    assert fates[None] > 100 and fates["text_dropped"] > 100


def with_texts(regions: list[Region]) -> Annotations:
    """Each old region of a machine with a text that was composed from it, and their triplet."""
    labels = Annotations(regions=regions)
    for region in regions:
        if region.round > 0:
            continue
        text = Text(
            id=f"t{region.id}",
            source="caption",
            granularity="brief",
            text=region.phrase,
            parents=[region.id],
        )
        labels.texts.append(text)
        triplet = Triplet(
            id=f"p{region.id}",
            source="ground",
            text_id=text.id,
            phrase=region.phrase,
            start=0,
            end=len(region.phrase),
            box=region.box,
            parents=[text.id, region.id],
        )
        labels.triplets.append(triplet)
    return labels


def test_merged_labels_are_better_than_the_old_ones_and_than_the_models_own() -> None:
    scenes = noisy_scenes(120)
    alone = []
    for i, (_, known) in enumerate(scenes):
        alone.append((Simulated(Quality(), i)(known, Annotations(), 1), known))
    labels = scenes
    for number in (1, 2, 3):
        labels = refined(labels, number)
    (before, before75), (after, after75) = f1(scenes), f1(labels)
    model, _ = f1(alone)
    assert 0.55 < before < 0.65
    assert model < 0.82
    assert after > model + 0.04
    assert after >= 0.85
    assert after75 >= 2 * before75


def test_a_model_that_is_much_worse_than_the_old_labels_does_no_harm() -> None:
    scenes = noisy_scenes(120)
    weak = Quality(recall=0.45, right=0.5, invented=0.4, jitter=0.15)
    (before, before75), (after, after75) = f1(scenes), f1(refined(scenes, 1, weak))
    assert after >= before - 0.01
    assert after75 >= before75 - 0.01


def refined(labels: Pairs, number: int, quality: Quality = GOOD) -> Pairs:
    """The labels after round `number` of refinement by a simulated model."""
    seen = []
    for i, (old, known) in enumerate(labels):
        model = Simulated(quality, 1000 * number + i)
        look = model.second_look(known, old, number)
        seen.append((old.overlaid(model(known, old, number)), look))
    judged = count_judged(seen, number, MergeConfig())
    config = MergeConfig(levels=thresholds_of(judged, MergeConfig(), curves_of(judged)))
    result = []
    for (sample, _), (_, known) in zip(seen, labels, strict=True):
        new = sample.overlaid(merge(sample, number, config)).kept()
        result.append((new, known))
    return result


def f1(pairs: Pairs) -> tuple[float, float]:
    """F1 of regions with their attributes at an IoU of 0.5 and of 0.75."""
    metrics = truth.score_round(pairs)["metrics"]
    return metrics["region_attributes"]["f1"], metrics["region_attributes_75"]["f1"]


def overlaps(left: Region, right: Region) -> bool:
    width = min(left.box[2], right.box[2]) - max(left.box[0], right.box[0])
    height = min(left.box[3], right.box[3]) - max(left.box[1], right.box[1])
    return width > 0 and height > 0


def random_regions(rng: random.Random) -> list[Region]:
    """Old regions and found ones."""
    return [random_region(rng, i) for i in range(8)]


def random_region(rng: random.Random, index: int) -> Region:
    x = rng.uniform(0, 20)
    y = rng.uniform(0, 20)
    fresh = rng.random() < 0.5
    phrase = rng.choice(["cup", "mug"])
    human = not fresh and rng.random() < 0.2
    stage = "refine" if fresh else "detect"
    return Region(
        id=f"{int(fresh)}.{stage}.regions.{index}",
        source="human" if human else stage,
        round=int(fresh),
        box=(x, y, x + 10, y + 10),
        phrase=phrase,
        score=rng.random(),
        support=None if fresh else rng.uniform(-4, 0),
    )
