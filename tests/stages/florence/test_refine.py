"""The refine stage with the checkpoint of the repository: what it adds, judges and leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.schema import Annotations, Text
from stages.base import Sample, fold_of
from stages.embedded.scenes import PRETRAIN, render
from stages.florence.answers import regions_from_answers, triplets_from_answer
from stages.florence.codec import location_tokens
from stages.florence.detokenise import AnswerText, detokenise
from stages.florence.refine import Refine
from stages.florence.refine_config import RefineConfig


@pytest.fixture(scope="module")
def refine() -> Refine:
    return Refine(RefineConfig(model="nano", resolution=64, max_tokens=96))


def samples(count: int = 3) -> list[Sample]:
    scenes = [render(PRETRAIN, 11, i) for i in range(count)]
    return [
        Sample(key=f"s{i}", size=(192, 192), round=1, annotations=s.truth, image=s.image)
        for i, s in enumerate(scenes)
    ]


def answer_text(text: str, beliefs: dict[str, float]) -> AnswerText:
    """Tokens as the keys of `beliefs` split the text."""
    spans, start = [], 0
    for piece in beliefs:
        spans.append((start, start + len(piece)))
        start += len(piece)
    assert "".join(beliefs) == text
    return AnswerText(text, tuple(spans), tuple(beliefs.values()))


def test_shown_annotations_come_back_judged_and_new_ones_come_without_id(refine: Refine) -> None:
    batch = samples()
    for sample, result in zip(batch, refine(batch), strict=True):
        assert isinstance(result, Annotations)
        shown = {a.id: a for a in sample.annotations.all()}
        revised = [a for a in result.all() if a.id]
        assert {a.id for a in revised} >= {r.id for r in sample.annotations.regions}
        for annotation in revised:
            assert annotation.support is not None and annotation.support <= 0
            assert replace(annotation, support=None) == shown[annotation.id]
        for annotation in (a for a in result.all() if not a.id):
            assert annotation.score is not None and 0 < annotation.score <= 1
        briefs = {t.id for t in sample.annotations.texts if t.granularity == "brief"}
        assert {t.text_id for t in result.triplets if not t.id} <= briefs


def test_a_true_category_has_more_support_than_a_false_one(refine: Refine) -> None:
    batch = samples(12)
    names = list(PRETRAIN.shapes)
    lies = []
    for sample in batch:
        wrong = [
            replace(
                r,
                phrase=names[(names.index(r.phrase) + 5) % len(names)]
                if r.phrase in names
                else "kite",
            )
            for r in sample.annotations.regions
        ]
        lies.append(replace(sample, annotations=replace(sample.annotations, regions=wrong)))
    judge = Refine(replace(refine.config, tasks=(), support=("<REGION_TO_CATEGORY>",)))
    better = [
        (t.support or 0.0) > (f.support or 0.0)
        for true, false in zip(judge(batch), judge(lies), strict=True)
        if isinstance(true, Annotations) and isinstance(false, Annotations)
        for t, f in zip(true.regions, false.regions, strict=True)
    ]
    assert sum(better) >= 0.7 * len(better)  # half by chance


def test_dropped_annotations_are_not_shown(refine: Refine) -> None:
    (sample,) = samples(1)
    gone = [replace(r, dropped="low_score") for r in sample.annotations.regions]
    (result,) = refine([replace(sample, annotations=replace(sample.annotations, regions=gone))])
    assert isinstance(result, Annotations) and not any(r.id for r in result.regions)


def test_results_do_not_depend_on_the_batch(refine: Refine) -> None:
    batch = samples(3)
    together = refine(batch)
    alone = [refine([sample])[0] for sample in batch]
    for a, b in zip(together, alone, strict=True):
        assert isinstance(a, Annotations) and isinstance(b, Annotations)
        assert [t.text for t in a.texts] == [t.text for t in b.texts]
        assert [r.box for r in a.regions] == [r.box for r in b.regions]
        together_support = [region.support for region in a.regions if region.id]
        alone_support = [region.support for region in b.regions if region.id]
        assert together_support == pytest.approx(alone_support, abs=1e-4)


def test_a_detected_box_takes_the_description_that_lies_on_it() -> None:
    boxes = "<loc_100><loc_100><loc_500><loc_500>"
    found = answer_text(
        f"car{boxes}dog<loc_0><loc_0><loc_50><loc_50>",
        {"car": -0.5, boxes: -1.5, "dog": -1.0, "<loc_0><loc_0><loc_50><loc_50>": -3.0},
    )
    elsewhere, beside = (
        "<loc_700><loc_700><loc_800><loc_800>",
        "<loc_701><loc_700><loc_800><loc_800>",
    )
    described = answer_text(
        f"red car<loc_110><loc_100><loc_500><loc_490>old hat{elsewhere}{beside}",
        {
            "red car": -0.1,
            "<loc_110><loc_100><loc_500><loc_490>": -0.1,
            "old hat": -1.0,
            elsewhere: -2.0,
            beside: -9.0,
        },
    )
    car, dog, hat = regions_from_answers(found, described, (1000, 1000), 0.5)
    assert (car.phrase, car.brief, car.brief_kind) == ("car", "red car", "caption")
    assert (dog.brief, dog.brief_kind) == ("dog", "phrase")
    assert car.score == pytest.approx(2.718281828**-1.0) and dog.score == pytest.approx(
        2.718281828**-2.0
    )
    assert (hat.phrase, hat.brief, hat.box[0]) == (
        "",
        "old hat",
        pytest.approx(700.5),
    )  # once, without a category yet
    assert hat.score == pytest.approx(2.718281828**-1.5)
    assert [r.brief for r in regions_from_answers(None, described, (1000, 1000), 0.5)] == [
        "red car",
        "old hat",
    ]


def test_a_place_without_area_is_nothing() -> None:
    flat, flipped = "<loc_5><loc_5><loc_5><loc_9>", "<loc_50><loc_5><loc_20><loc_9>"
    said = answer_text(f"car{flat}{flipped}", {"car": -0.1, flat: -0.1, flipped: -0.1})
    assert regions_from_answers(said, said, (1000, 1000), 0.5) == []
    text = Text(id="t", granularity="brief", text="A car")
    assert triplets_from_answer(text, said, (1000, 1000)) == []


def test_a_region_that_only_the_dense_captions_find_is_asked_for_its_category(
    refine: Refine,
) -> None:
    (sample,) = samples(1)
    told = Refine(replace(refine.config, tasks=("<DENSE_REGION_CAPTION>",)))
    (result,) = told([replace(sample, annotations=Annotations())])
    assert isinstance(result, Annotations) and result.regions
    for region in result.regions:
        assert region.phrase and region.brief and region.support is not None
        asked = told._question(
            "<REGION_TO_CATEGORY>", 0, region, location_tokens(region.box, sample.size)
        )
        features = told.inference.encode_images([sample.pixels])
        (tokens,) = told.inference.answer(features, [asked.question])
        answer = detokenise(told.inference.florence, tokens)
        assert answer.text.startswith(region.phrase)


def test_a_region_is_as_good_as_the_worse_of_category_and_description(refine: Refine) -> None:
    (sample,) = samples(1)
    first = sample.annotations.regions[0]
    only = replace(sample, annotations=Annotations(regions=[first]))

    def support(*tokens: str) -> float:
        judge = Refine(replace(refine.config, tasks=(), support=tokens))
        (result,) = judge([only])
        assert isinstance(result, Annotations) and result.regions[0].support is not None
        return result.regions[0].support

    category, description = support("<REGION_TO_CATEGORY>"), support("<REGION_TO_DESCRIPTION>")
    both = support("<REGION_TO_CATEGORY>", "<REGION_TO_DESCRIPTION>")
    assert both == pytest.approx(min(category, description), abs=1e-4)


def test_a_wrong_name_is_judged_and_brings_no_other_name(refine: Refine) -> None:
    (sample,) = samples(1)
    first = replace(sample.annotations.regions[0], phrase="zebra", brief="red zebra")
    judge = Refine(
        replace(
            refine.config, tasks=(), support=("<REGION_TO_CATEGORY>", "<REGION_TO_DESCRIPTION>")
        )
    )
    (result,) = judge([replace(sample, annotations=Annotations(regions=[first]))])
    assert isinstance(result, Annotations) and len(result) == 1
    (judged,) = result.regions
    assert judged.support is not None and replace(judged, support=None) == first


def test_a_model_looks_only_at_the_samples_of_its_fold(refine: Refine) -> None:
    batch = samples(6)
    halves = [
        Refine(replace(refine.config, tasks=("<CAPTION>",), support=(), fold=i, folds=2))(batch)
        for i in (0, 1)
    ]
    for sample, first, second in zip(batch, *halves, strict=True):
        seen = [bool(len(result)) for result in (first, second) if isinstance(result, Annotations)]
        assert seen == [fold_of(sample.key, 2) == fold for fold in (0, 1)]
    assert {fold_of(s.key, 2) for s in batch} == {0, 1}


def test_texts_are_written_only_where_they_are_missing(refine: Refine) -> None:
    (sample,) = samples(1)
    writer = Refine(replace(refine.config, tasks=(), support=(), missing=("detailed",)))
    bare = replace(sample.annotations, texts=sample.annotations.texts[:1], triplets=[])
    told, untold = writer([sample, replace(sample, annotations=bare)])
    assert isinstance(told, Annotations) and isinstance(untold, Annotations)
    assert told.texts == [] and [t.granularity for t in untold.texts] == ["detailed"]


def test_locations_count_together_and_lie_at_the_mean_of_the_belief_around_the_likeliest(
    refine: Refine,
) -> None:
    import torch

    scorer = refine.inference.scorer
    bins = torch.arange(1000.0)
    jitter = 1.5 * torch.rand(1000, generator=torch.Generator().manual_seed(5))
    two = torch.exp(-(((bins - 300) / 25) ** 2) / 2) + 0.2 * torch.exp(
        -(((bins - 700) / 25) ** 2) / 2
    )
    logits = torch.full((2, scorer.kinds.shape[0]), -20.0)
    logits[:, scorer.first_location : scorer.first_location + 1000] = (two + 1e-6).log() + jitter
    likeliest = int(logits[0].argmax()) - scorer.first_location
    some, sure = (
        logits[:, likeliest + scorer.first_location] + 0.5,
        logits[:, scorer.first_location :].logsumexp(-1) + 0.5,
    )
    logits[0, 50], logits[1, 50] = (
        some[0],
        sure[1],
    )  # likelier than any bin, likelier than all together
    assert int(logits[0].argmax()) == 50
    place, word = scorer.centred_choice(logits, logits, refine.config.centre).tolist()
    assert abs(place - scorer.first_location - 300) <= 2 < 7 < abs(likeliest - 300)
    assert word == 50


def test_an_empty_batch_and_a_sample_without_labels_are_normal(refine: Refine) -> None:
    assert refine([]) == []
    (sample,) = samples(1)
    (result,) = refine([replace(sample, annotations=Annotations())])
    assert isinstance(result, Annotations) and len(result.texts) <= 1 and not result.triplets


def test_unknown_tasks_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="tasks: <ODD>: no such task; did you mean <OD>"):
        RefineConfig(model="nano", tasks=("<ODD>",))


def test_a_phrase_is_found_as_whole_words_and_a_box_that_is_said_again_counts_once() -> None:
    places = [f"<loc_{i}><loc_5><loc_{i + 50}><loc_90>" for i in (10, 20)]
    text = Text(id="t", granularity="brief", text="Toys on the carpet beside the car.")
    once, twice = f"the car{places[0]}", f"the car{places[0]}{places[0]}{places[1]}"
    for answer, count in ((once, 1), (twice, 2)):
        said = sure_answer(answer)
        found = triplets_from_answer(text, said, (1000, 1000))
        assert [(t.start, t.end) for t in found] == [(26, 33)] * count
    assert [round(t.box[0]) for t in found] == [10, 20]
    assert triplets_from_answer(text, sure_answer(f"pet{places[0]}"), (1000, 1000)) == []


def sure_answer(answer: str) -> AnswerText:
    return AnswerText(answer, ((0, len(answer)),), (-0.1,))


def test_phrases_of_texts_that_are_not_grounded_are_not_judged(refine: Refine) -> None:
    (sample,) = samples(1)
    told = {t.id: t.granularity for t in sample.annotations.texts}
    assert set(told.values()) == {"brief", "detailed"}
    (result,) = refine([sample])
    assert isinstance(result, Annotations)
    judged = {told[t.text_id] for t in result.triplets if t.id}
    assert judged == {"brief"}
