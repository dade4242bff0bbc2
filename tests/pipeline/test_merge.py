import math
import random
from dataclasses import replace
from typing import Any

import pytest

from pipeline.merge import MergeConfig, merge
from pipeline.schema import Annotations, Region, Text, Triplet

CONFIG = MergeConfig(match_iou=0.5, relabel_margin=0.5, drop_below=-2.5, add_above=-0.3)
HERE, THERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)


def old(**fields: Any) -> Region:
    return Region(
        **{"id": "0.detect.regions.0", "source": "detect", "box": HERE, "phrase": "cup", "score": 0.6, **fields}
    )


def new(**fields: Any) -> Region:
    fields = {
        "id": "1.refine.regions.0",
        "source": "refine",
        "round": 1,
        "box": HERE,
        "phrase": "cup",
        "score": 0.9,
        **fields,
    }
    return Region(**fields)


def merged(*regions: Region) -> dict[str, Region]:
    given = Annotations(regions=list(regions))
    return {r.id: r for r in given.overlaid(merge(given, 1, CONFIG)).regions}


def test_agreement_keeps_the_old_label_and_raises_its_confidence() -> None:
    result = merged(old(), new(box=(0.0, 0.0, 10.0, 9.0)))
    assert result["0.detect.regions.0"].dropped is None
    assert result["0.detect.regions.0"].confidence == pytest.approx(1 - 0.4 * 0.1)
    assert result["1.refine.regions.0"].dropped == "agrees"


def test_a_likelier_label_of_the_same_region_replaces_the_old_one_and_names_it_as_parent() -> None:
    result = merged(old(support=-2.0), new(phrase="mug"))
    assert result["0.detect.regions.0"].dropped == "relabelled"
    assert result["1.refine.regions.0"].dropped is None
    assert result["1.refine.regions.0"].parents == ["0.detect.regions.0"]


def test_a_label_that_is_not_likelier_by_the_margin_does_not_replace() -> None:
    result = merged(old(support=math.log(0.9) - 0.4), new(phrase="mug"))
    assert result["0.detect.regions.0"].dropped is None
    assert result["1.refine.regions.0"].dropped == "less_likely"


def test_an_old_label_that_is_neither_found_nor_believed_is_dropped() -> None:
    assert merged(old(support=-3.0))["0.detect.regions.0"].dropped == "not_supported"
    assert merged(old(support=-1.0))["0.detect.regions.0"].dropped is None


def test_an_old_label_that_the_model_did_not_look_at_stays() -> None:
    assert merged(old(support=None))["0.detect.regions.0"].dropped is None


def test_a_new_label_comes_in_only_when_the_model_is_confident() -> None:
    result = merged(old(), new(box=THERE))
    assert (result["1.refine.regions.0"].dropped, result["1.refine.regions.0"].confidence) == (None, 0.9)
    assert merged(new(box=THERE, score=0.5))["1.refine.regions.0"].dropped == "not_confident"


def test_a_new_label_is_judged_by_its_score_also_where_its_words_alone_are_likely() -> None:
    assert merged(new(box=THERE, score=0.5, support=-0.01))["1.refine.regions.0"].dropped == "not_confident"


def test_human_labels_are_never_touched() -> None:
    human = old(source="human", support=-9.0)
    assert merged(human, new(phrase="mug"))["0.detect.regions.0"] == human
    assert merged(human)["0.detect.regions.0"] == human
    assert merged(human, new())["0.detect.regions.0"] == human


def test_triplets_of_a_replaced_text_go_with_it() -> None:
    text = Text(id="0.caption.texts.0", granularity="brief", text="A cup.", support=-3.0)
    better = Text(id="1.refine.texts.0", granularity="brief", text="A mug.", round=1, score=0.95)
    triplet = Triplet(id="0.ground.triplets.0", text_id=text.id, phrase="A cup", start=0, end=5, box=HERE)
    given = Annotations(texts=[text, better], triplets=[triplet])
    result = given.overlaid(merge(given, 1, CONFIG))
    assert [t.dropped for t in result.texts] == ["relabelled", None]
    assert [t.dropped for t in result.triplets] == ["text_dropped"]


def test_the_result_does_not_depend_on_the_order_of_the_input() -> None:
    rng = random.Random(0)
    for _ in range(200):
        made = [_random_region(rng, i) for i in range(8)]
        expected = merged(*made)
        rng.shuffle(made)
        assert merged(*made) == expected


def test_every_annotation_has_one_fate_and_a_second_merge_changes_no_label() -> None:
    rng = random.Random(1)
    for _ in range(200):
        made = [_random_region(rng, i) for i in range(8)]
        result = merged(*made)
        assert set(result) == {r.id for r in made}
        kept = [
            replace(r, round=0) for r in result.values() if r.dropped is None and (r.support or 0) >= CONFIG.drop_below
        ]
        again = merged(*kept)
        assert {i: r.dropped for i, r in again.items()} == {r.id: None for r in kept}


def _random_region(rng: random.Random, i: int) -> Region:
    x, y, fresh = rng.uniform(0, 20), rng.uniform(0, 20), rng.random() < 0.5
    return Region(
        id=f"{int(fresh)}.{'refine' if fresh else 'detect'}.regions.{i}", source="x", round=int(fresh), 
        box=(x, y, x + 10, y + 10),
        phrase=rng.choice(["cup", "mug"]), score=rng.random(), support=None if fresh else rng.uniform(-4, 0),
    )  # fmt: skip
