"""The text filter's reasons, per granularity."""

from __future__ import annotations

import pytest

from pipeline.schema import HUMAN, Annotations, Granularity, Parse, Text
from stages.base import Sample
from stages.filters.text import TextFilter, TextFilterConfig, TextLimits


def text(id: str, objects: int = 2, degrees: tuple[int, int] = (3, 2), **more: object) -> Text:
    parse = Parse(
        tokens=9,
        objects=["dog"] * objects,
        attributes=[],
        actions=["runs"],
        proper_nouns=[],
        object_complexity=degrees[0],
        action_complexity=degrees[1],
        object_complexity_mean=0.0,
        action_complexity_mean=0.0,
        noun_phrases=[],
    )
    return Text(**{"id": id, "granularity": "brief", "text": "A dog runs.", "parse": parse, **more})


def reasons(*texts: Text, config: TextFilterConfig | None = None) -> dict[str, str | None]:
    sample = Sample(key="k", size=(9, 9), annotations=Annotations(texts=list(texts)))
    (result,) = TextFilter(config or TextFilterConfig())([sample])
    return {t.id: t.dropped for t in result.texts}


def test_each_rule_has_its_reason_and_the_limits_themselves_stay() -> None:
    config = TextFilterConfig(
        brief=TextLimits(max_objects=3, min_object_complexity=2, min_action_complexity=1)
    )
    texts = [
        text("limit", objects=3, degrees=(2, 1)),
        text("crowd", objects=4),
        text("plain", degrees=(1, 2)),
        text("still", degrees=(3, 0)),
        text("empty", text="  "),
    ]
    assert reasons(*texts, config=config) == {
        "crowd": "too_many_objects",
        "plain": "low_object_complexity",
        "still": "low_action_complexity",
        "empty": "empty_text",
    }


@pytest.mark.parametrize(
    ("granularity", "limit"), [("brief", 12), ("detailed", 40), ("more_detailed", 80)]
)
def test_every_granularity_has_its_own_limits(granularity: Granularity, limit: int) -> None:
    assert reasons(text("a", objects=limit, granularity=granularity)) == {}
    assert reasons(text("a", objects=limit + 1, granularity=granularity)) == {
        "a": "too_many_objects"
    }


def test_human_and_dropped_texts_are_left_alone() -> None:
    assert (
        reasons(text("h", objects=99, source=HUMAN), text("d", objects=99, dropped="not_supported"))
        == {}
    )


def test_a_text_without_a_parse_is_the_recipes_mistake() -> None:
    with pytest.raises(ValueError, match="put the stage `parse` before"):
        reasons(text("a", parse=None))


def test_captioners_that_share_too_few_words_are_dropped_when_asked_for() -> None:
    config = TextFilterConfig(brief=TextLimits(min_agreement=0.5))
    found = reasons(
        text("apart", agreement=0.4), text("near", agreement=0.5), text("alone"), config=config
    )
    assert found == {"apart": "low_agreement"}
