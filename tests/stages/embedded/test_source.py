"""Rendered scenes as a source: a long tail of categories, and human labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pipeline.schema import REVIEWED, Annotations
from stages.embedded.domains import SIGN
from stages.embedded.scenes import DEMO, render
from stages.embedded.source import ScenesConfig, ScenesSource
from stages.source import Item


def items(config: ScenesConfig) -> list[Item]:
    source = ScenesSource(config)
    return list(source.read(source.list()))


def test_categories_follow_zipfs_law_in_the_order_of_the_shapes() -> None:
    counts: Counter[str] = Counter()
    for index in range(250):
        scene = render(replace(DEMO, zipf=1.5), 0, index)
        counts.update(region.phrase for region in scene.truth.regions if region.phrase != SIGN)
    shapes = list(DEMO.shapes)
    assert counts[shapes[0]] > 2 * counts[shapes[1]] > 2 * counts[shapes[3]] > 0
    expected = [(rank + 1) ** -1.5 for rank in range(len(shapes))]
    for shape, weight in zip(shapes, expected, strict=True):
        # Two things of one scene differ, so the most frequent category is drawn less often.
        share = counts[shape] / counts.total()
        assert abs(share - weight / sum(expected)) < 0.07


def test_without_a_long_tail_the_scenes_are_those_of_all_earlier_runs() -> None:
    (item,) = items(ScenesConfig(count=1))
    assert item.truth == render(DEMO, 0, 0).truth
    (rare,) = items(ScenesConfig(count=1, zipf=2.0))
    assert rare.truth == render(replace(DEMO, zipf=2.0), 0, 0).truth != item.truth


def test_a_share_of_the_scenes_has_human_labels_and_a_larger_share_holds_it() -> None:
    assert reviewed(ScenesConfig(count=5)) == {}
    few = reviewed(ScenesConfig(count=40, human=0.2))
    many = reviewed(ScenesConfig(count=40, human=0.5))
    assert 3 < len(few) < 14 and 13 < len(many) < 27
    assert few.items() <= many.items()


def reviewed(config: ScenesConfig) -> dict[str, Annotations]:
    """The labels of the scenes that have any."""
    found = {}
    for item in items(config):
        assert isinstance(item.given, Annotations)
        if len(item.given):
            found[item.name] = item.given
    return found


def test_human_labels_are_what_is_true_and_say_that_they_are_complete() -> None:
    config = ScenesConfig(count=12, human=1.0)
    for item in items(config):
        given, truth = item.given, item.truth
        assert isinstance(given, Annotations) and isinstance(truth, Annotations)
        assert all(label.locked and label.model == "review" for label in given.all())
        kept = given.kept()
        assert [region.box for region in kept.regions] == [region.box for region in truth.regions]
        assert [word.text for word in kept.text_regions] == [w.text for w in truth.text_regions]
        assert [text.granularity for text in kept.texts] == ["brief"]
        assert not kept.triplets
        marks = {label.id for label in given.all() if label.dropped == REVIEWED}
        assert marks == {
            f"human.{group}.reviewed" for group in ("brief", "regions", "text_regions")
        }
