"""What is read out of a sentence, against sentences parsed by hand (sentences.txt)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.schema import Annotations, Text
from stages.base import Sample
from stages.filters import language
from stages.filters.language import ParseConfig, ParseTexts, load, parse
from stages.filters.triplet import blacklist, is_blacklisted

HERE = Path(__file__).parent


def rows_of(name: str) -> list[list[str]]:
    """The columns of each line of a file beside this one; lines that begin with `#` are comments."""
    rows = []
    for line in (HERE / name).read_text().splitlines():
        if not line.startswith("#"):
            rows.append([column.strip() for column in line.split("|")])
    return rows


ROWS = rows_of("sentences.txt")


def words(part: str) -> list[str]:
    return part.split(", ") if part else []


def test_there_are_enough_sentences() -> None:
    assert len(ROWS) >= 40


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_sentences_read_as_by_hand(row: list[str]) -> None:
    text, objects, attributes, actions, phrases, degrees = row
    (found,) = parse([text])
    assert (found.objects, found.attributes, found.actions) == (
        words(objects),
        words(attributes),
        words(actions),
    )
    assert [p.text for p in found.noun_phrases] == words(phrases)
    assert [found.object_complexity, found.action_complexity] == [int(d) for d in degrees.split()]


def test_a_verb_that_the_tagger_takes_for_a_plural_is_an_action() -> None:
    (found,) = parse(["A brown dog runs."])
    assert (found.objects, found.actions) == (["dog"], ["runs"])
    assert [p.text for p in found.noun_phrases] == ["A brown dog"]


def test_spans_are_characters_of_the_text_as_given() -> None:
    text = "  Caf\u00e9 \U0001f600: two   dogs\nchase  a   cat!"
    (found,) = parse([text])
    assert {"dogs", "cat"} <= set(found.objects)
    assert all(text[p.start : p.end] == p.text for p in found.noun_phrases)


def test_means_are_over_the_tokens_of_the_type_and_zero_without_any() -> None:
    (found,) = parse(["A man wearing a hat reads a newspaper."])
    # Objects: man 3, hat 2, newspaper 2; actions: wearing 2, reads 3 (man, newspaper, full stop).
    assert found.object_complexity_mean == pytest.approx(7 / 3)
    assert found.action_complexity_mean == pytest.approx(5 / 2)
    (still,) = parse(["A bowl of soup on a table."])
    assert still.action_complexity_mean == 0


def test_tokens_are_counted_without_punctuation_and_spaces() -> None:
    assert [p.tokens for p in parse(["Two dogs,  a cat.", "", "...", "  "])] == [4, 0, 0, 0]


def test_proper_nouns_are_counted_apart() -> None:
    (found,) = parse(["Paul rides his bike to London."])
    assert (found.proper_nouns, found.objects) == (["Paul", "London"], ["bike"])


def test_pronouns_are_noun_phrases_before_any_blacklist() -> None:
    assert [p.text for p in parse(["She smiles at the camera."])[0].noun_phrases] == [
        "She",
        "the camera",
    ]


def test_phrases_judged_by_hand_pass_the_lists_and_their_share_is_the_noted_one() -> None:
    judged = rows_of("judged_phrases.txt")
    assert len(judged) == 50
    assert not any(is_blacklisted(phrase, blacklist()) for _, phrase, *_ in judged)
    assert sum(verdict == "yes" for verdict, *_ in judged) / 50 == 0.92


def test_equal_texts_are_parsed_once_and_answers_keep_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    original = language.parse_doc
    monkeypatch.setattr(language, "parse_doc", lambda doc: seen.append(doc.text) or original(doc))
    found = parse(["A dog runs.", "A cat sleeps.", "A dog runs."])
    assert seen == ["A dog runs.", "A cat sleeps."]
    assert [p.objects for p in found] == [["dog"], ["cat"], ["dog"]]


def test_a_missing_model_says_how_to_install_it() -> None:
    with pytest.raises(ValueError, match=r"'xx_no_model'.*pip install xx-no-model"):
        load("xx_no_model")


def test_the_stage_parses_fresh_texts_that_have_no_parse() -> None:
    (known,) = parse(["A ring shines."])
    texts = [
        Text(id="a", granularity="brief", text="A dog barks at a cat.", round=1),
        Text(id="old", granularity="brief", text="A dog.", round=0),
        Text(id="done", granularity="brief", text="A ring shines.", round=1, parse=known),
        Text(id="gone", granularity="brief", text="A dog.", round=1, dropped="empty_text"),
    ]
    sample = Sample(key="k", size=(9, 9), round=1, annotations=Annotations(texts=texts))
    empty = Sample(key="e", size=(9, 9), round=1)
    results = ParseTexts(ParseConfig())([empty, sample])
    assert len(results[0]) == 0
    assert [(t.id, t.parse.objects) for t in results[1].texts] == [("a", ["dog", "cat"])]
