"""A filter that drops every label of a kind is told, with the setting that did it."""

from __future__ import annotations

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.refinement.emptied import emptied

FILTERS = parse(compose(["work=w"])).filters


def told(kept: dict[str, int], dropped: dict[str, dict[str, int]]) -> list[str]:
    return list(emptied(FILTERS, {"kept": kept, "dropped": dropped}, "00-abc"))


def test_the_setting_that_dropped_most_is_named() -> None:
    regions = {"low_score": 2190, "class_overlap": 10, "degenerate_box": 5}
    assert told({"regions": 0, "texts": 3}, {"regions": regions, "texts": {}}) == [
        "00-abc: no regions are left: low_score of filters.region dropped 2,190 of 2,205; look at "
        "its setting min_score or min_scores"
    ]
    texts = {"texts": {"low_object_complexity": 7}, "triplets": {"text_dropped": 9}}
    assert told({}, texts) == [
        "00-abc: no texts are left: low_object_complexity of filters.text dropped 7 of 7; look at "
        "its setting min_object_complexity"
    ]


def test_what_is_left_or_was_never_there_or_no_label_at_all_is_not_told() -> None:
    assert told({"regions": 1}, {"regions": {"low_score": 90}}) == []
    assert told({"regions": 0}, {"regions": {}}) == []
    # Faces are notes for a review; no filter drops them.
    assert told({"regions": 0}, {"regions": {"finding": 4}}) == []
