"""The page of a report, `fld explain`, and the table of rounds."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest

from pipeline.quality.truth import Interval, count_sample, summary
from pipeline.refinement.rules import Certainties, Thresholds
from pipeline.report.explain import explain
from pipeline.report.history import IngestTry, SampleHistory, SampleInRound, StageOutput
from pipeline.report.html import write_report
from pipeline.report.terminal import rounds_table
from pipeline.report.views import Measured, PictureView, ReportData, RoundView
from pipeline.rows import Failure, ImageRow, Row
from pipeline.schema import Annotations, Text
from tests.pipeline.report.labels import TEXT, jpeg, region, sample


def view(name: str = "00-aa", status: str = "accepted", **more: object) -> RoundView:
    return RoundView(
        **{"name": name, "status": status, "kept": {"texts": 1, "regions": 1234}, **more}
    )


def test_the_page_is_one_file_that_needs_nothing_else() -> None:
    page = write_report(_data())
    assert "url(" not in page and "<script src" not in page
    references = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert all(reference.startswith(("#", "data:")) for reference in references) and references
    assert page == write_report(_data())


def test_the_page_is_well_formed_and_escapes_what_was_written_in_images() -> None:
    page = write_report(_data())
    assert "\\u003csign\\u003e" in page and "<sign>" not in page
    assert _unclosed(page) == []


def test_the_page_tells_rounds_gate_reasons_and_changes() -> None:
    page = write_report(_data())
    for said in (
        "1,234",
        "rejected",
        "worse by 0.2",
        "-0.200",
        "[-0.300, -0.100]",
        "low score",
        "out of memory",
    ):
        assert said in page, said
    assert "0.667" in page  # F1 of one of two regions found


def test_the_page_tells_by_rule_what_a_round_changed() -> None:
    rules = {"regions": {"reshaped": 321, "not_supported": 7}, "texts": {}}
    rounds = [view(), view("01-bb", changes=rules)]
    page = write_report(ReportData(experiment="x", images=1, rounds=rounds, head="01-bb"))
    assert page.count("What each round changed") == 1
    assert "<span>not supported</span>" in page and "<b>321</b>" in page
    assert "What each round changed" not in write_report(_data())


def test_the_page_tells_what_a_merge_measured_by() -> None:
    levels = {
        "regions": Thresholds(
            refound=0.314,
            add=Certainties(twice=-1.349, once=-0.2, unasked=-0.9),
            rename=Certainties(twice=-0.58),
            drop=-1.6,
        ),
        "texts": Thresholds(refound=0.5, rename=Certainties(twice=-0.1)),
        "triplets": Thresholds(),
    }
    measured = {kind: Measured.of(asdict(level)) for kind, level in levels.items()}
    rounds = [view(), view("01-bb", reason="ok", measured=measured)]
    page = write_report(ReportData(experiment="x", images=1, rounds=rounds))
    told = (
        "31% of regions (nats a token: add -1.35, add what one look gives -0.20, rename -0.58, "
        "drop below -1.60), 50% of texts (nats a token: rename -0.10), 0% of triplets."
    )
    assert told in page


def test_the_page_tells_what_people_judged() -> None:
    row = {
        "type": "regions",
        "source": "detect",
        "judged": 50,
        "right": 47,
        "precision": 0.94,
        "low": 0.838,
        "high": 0.979,
    }
    page = write_report(ReportData(experiment="demo", images=1, rounds=[view(audit=[row])]))
    assert "Judged by people: 00-aa" in page and "0.838 to 0.979" in page


def test_the_image_is_embedded_once() -> None:
    assert write_report(_data()).count(base64.b64encode(jpeg()).decode()) == 1


def test_a_report_of_nothing_is_a_page() -> None:
    assert "No round has been accepted" in write_report(
        ReportData(experiment="demo", images=0, rounds=[])
    )


def _data() -> ReportData:
    truth = Annotations(regions=[region(), region("t1", box=(44, 8, 60, 24))])
    found = summary(count_sample(Annotations(regions=[region()]), truth))
    rounds = [
        view(
            metrics=found,
            dropped={"regions": {"low_score": 3}},
            failed={"ocr": {"out_of_memory": 1}},
        ),
        view(
            "01-bb",
            "rejected",
            reason="worse by 0.2",
            gate={"score": Interval(value=-0.2, low=-0.3, high=-0.1)},
        ),
    ]
    later = Annotations([TEXT], [region(brief="blue circle"), *sample().regions[1:]])
    picture = PictureView(
        key="a",
        image=jpeg(),
        size=(64, 64),
        rounds={"00-aa": sample(), "01-bb": later},
        truth=truth,
    )
    quiet = PictureView(
        key="b", image=jpeg((30, 20)), size=(30, 20), rounds={"00-aa": Annotations()}
    )
    return ReportData(
        experiment="demo", images=2, rounds=rounds, pictures=[picture, quiet], head="00-aa"
    )


def _unclosed(page: str) -> list[str]:
    """Tags that a strict reader would find open or crossed."""
    void = {"meta", "input", "link", "br", "img"}
    stack: list[str] = []
    wrong: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in void:
                stack.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            if not stack or stack.pop() != tag:
                wrong.append(tag)

    Reader().feed(page)
    return wrong + stack


def test_explain_tells_each_stage_and_round() -> None:
    filtered = Annotations(regions=[region(dropped="low_score")])
    rescored = Annotations(regions=[region(brief="blue circle", score=0.75)])
    later = [region(dropped="low_score"), region("1.refine.0", confidence=0.8, parents=["p"])]
    seen = Row(key="a", annotations=Annotations(regions=[region(id_="0.detect.0", score=0.75)]))
    failure = Failure(stage="ocr", reason="x")
    story = SampleHistory(
        image=ImageRow(key="a", name="a.jpg", width=64, member="a.jpg", offset=512, size=99),
        shard="shard-1",
        tries=[
            IngestTry(shard="shard-0", row=ImageRow(key="a", name="a.jpg", failed="unreadable"))
        ],
        truth=None,
        given=Annotations(
            [Text(id="human.texts.0", source="human", granularity="brief", text="A sign.")]
        ),
        stages=[
            StageOutput(stage="detect", folder="signals/detect-1", row=seen),
            StageOutput(
                stage="ocr",
                folder="signals/ocr-1",
                row=Row(key="a", failed="out_of_memory", detail="2 GB"),
            ),
            StageOutput(stage="score", folder="f", row=replace(seen, annotations=rescored)),
            StageOutput(stage="filter", folder="f", row=Row(key="a", annotations=filtered)),
            StageOutput(stage="segment", folder="f", row=Row(key="a")),
        ],
        rounds=[
            SampleInRound(
                round="00-aa", status="accepted", failures=[failure], annotations=filtered
            ),
            SampleInRound(
                round="01-bb", status=None, failures=[], annotations=Annotations(regions=later)
            ),
        ],
    )
    assert explain(story).split("\n\n") == [
        "try in shard-0\n  FAILED unreadable",
        "a\n  shard: shard-1\n  name: a.jpg\n  width: 64\n"
        "  lies in: a.jpg of images/shard-1.tar, 99 bytes from 512",
        'given by the source\n  text human.texts.0  brief "A sign."  (human)',
        "detect  signals/detect-1\n"
        '  region 0.detect.0  circle "red circle" at 8 8 40 40  score 0.750  (detect)',
        "ocr  signals/ocr-1\n  FAILED out_of_memory: 2 GB",
        "score  f\n  region 0.detect.0  brief red circle -> blue circle",
        'filter  f\n  region 0.detect.0  circle "red circle" at 8 8 40 40  DROPPED low_score',
        "segment  f\n  nothing",
        "round 00-aa  accepted\n  FAILED ocr: x\n"
        '  region 0.detect.0  circle "red circle" at 8 8 40 40  (detect)  DROPPED low_score',
        "round 01-bb\n"
        '  added region 1.refine.0  circle "red circle" at 8 8 40 40  confidence 0.800  (detect)'
        "  from p\n"
        "  0 kept as they were",
    ]


def test_the_table_of_rounds_lines_up_counts_quality_and_losses() -> None:
    data = _data()
    assert rounds_table(data.rounds).split("\n\n") == [
        "round    status  texts  regions  text regions  triplets  score\n"
        "00-aa  accepted      1    1,234             0         0  0.667\n"
        "01-bb  rejected      1    1,234             0         0      -",
        "precision / recall / F1                    00-aa\n"
        "regions                    1.000 / 0.500 / 0.667\n"
        "regions, IoU 0.75          1.000 / 0.500 / 0.667\n"
        "regions with attributes    1.000 / 0.500 / 0.667\n"
        "with attributes, IoU 0.75  1.000 / 0.500 / 0.667",
        "00-aa\n  regions dropped: low_score 3\n  samples failed in ocr: out_of_memory 1",
        "01-bb\n  worse by 0.2",
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_curves_need_two_rounds(count: int) -> None:
    page = write_report(
        ReportData(experiment="demo", images=1, rounds=[view(), view("01-bb")][:count])
    )
    assert ("<h2>Curves</h2>" in page) == (count == 2)
