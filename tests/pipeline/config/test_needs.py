"""A stage that stands before what it reads is refused; what nobody declares is accepted."""

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from stages.base import needs_of
from stages.embedded.detect import Contours
from stages.registry import SOURCES, STAGES, load

LABELS_ONLY = ["refine.complete=[]", "refine.rounds=0"]
WITHOUT_TEXTS = [f"~specialists.{name}" for name in ("caption", "describe")]
WITHOUT_TEXTS += [f"~specialists.{name}" for name in ("parse", "ground")]


def parsed(*overrides: str) -> RunConfig:
    return parse(compose([*LABELS_ONLY, *overrides]))


@pytest.mark.parametrize(
    ("override", "stage", "need"),
    [
        ("specialists.region_text.after=[]", "region_text", "regions"),
        ("specialists.score.after=[detect]", "score", "candidate_texts"),
        ("specialists.parse.after=[]", "parse", "texts"),
        ("specialists.ground.after=[detect]", "ground", "parsed_texts"),
        ("specialists.segment.after=[]", "segment", "regions or triplets"),
        ("specialists.caption.after=[ocr]", "caption", "regions"),
    ],
)
def test_a_stage_before_what_it_reads_is_refused(override: str, stage: str, need: str) -> None:
    with pytest.raises(ValueError, match=f"^specialists.{stage}: it reads {need}, and no stage in"):
        parsed(override)


def test_two_stages_that_change_the_same_labels_must_not_work_side_by_side() -> None:
    advice = r"segment: it and region_text both change regions.*; set specialists.segment.after="
    with pytest.raises(ValueError, match=advice):
        parse(compose(["specialists.segment.after=[detect]"]))
    parse(compose(["specialists.segment.after=[score]"]))


def test_what_a_stage_far_upstream_gives_is_enough() -> None:
    parsed("specialists.segment.after=[describe]", "specialists.describe.after=[caption]")


def test_texts_of_the_source_are_enough() -> None:
    with pytest.raises(ValueError, match=r"specialists\.parse: it reads texts"):
        parsed("source=folder", "source.path=x", "specialists.parse.after=[]")
    parsed("source=webdataset", "source.path=x", "specialists.parse.after=[]")


def test_a_stage_that_declares_nothing_may_give_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    override = "specialists.parse.after=[detect]"
    with pytest.raises(ValueError, match="it reads texts"):
        parsed(override)
    monkeypatch.delattr(Contours, "gives")
    parsed(override)


def test_if_no_stage_gives_it_the_advice_is_to_add_one() -> None:
    with pytest.raises(ValueError, match=r"reads regions, and .*; add a stage that does"):
        parsed(
            "~specialists.detect",
            "specialists.region_text.after=[]",
            "specialists.segment.after=[score]",
        )


def test_a_filter_may_have_nothing_to_do_but_texts_need_a_parse() -> None:
    parsed(*WITHOUT_TEXTS)
    without_parse = ["~specialists.parse", "~specialists.ground"]
    with pytest.raises(
        ValueError, match=r"^filters\.text: it reads parsed_texts, and no stage before it gives any"
    ):
        parsed(*without_parse, "specialists.segment.after=[score]")
    parse_filter = "filters.words={use: parse}"
    late = [*without_parse, "specialists.segment.after=[score]", parse_filter]
    with pytest.raises(ValueError, match=r"^filters\.text: it reads parsed_texts"):
        parsed(*late)
    parsed(*late, "filters.text.after=[words]")


def test_a_filter_that_must_run_early_cannot_wait_for_what_is_composed_of_its_labels() -> None:
    with pytest.raises(ValueError, match=r"^filters\.text: it reads parsed_texts, but must run "):
        parsed("filters.region.after=[text]")


def test_every_shipped_stage_declares_what_it_gives_in_known_words() -> None:
    known = {"texts", "parsed_texts", "regions", "candidate_texts", "text_regions", "triplets"}
    for use in {**SOURCES, **STAGES}.keys() - {"florence", "merge"}:
        stage, _ = load(use)
        assert known.issuperset(stage.gives), use
        for need in needs_of(stage):
            assert known.issuperset(need.split(" or ")), use
