"""`fld explain` in short: kept labels first, dropped ones as counts."""

from __future__ import annotations

from pipeline.report.explain import explain
from pipeline.report.history import SampleHistory, SampleInRound, StageOutput
from pipeline.rows import ImageRow, Row
from pipeline.schema import Annotations, Region


def region(number: int, score: float, dropped: str | None = None) -> Region:
    id_ = f"0.detect.{number}"
    box = (0.0, 0.0, 9.0, 9.0)
    return Region(id=id_, source="detect", box=box, phrase="cup", score=score, dropped=dropped)


def story() -> SampleHistory:
    """A detector finds 43 cups; the filter keeps the last one, and drops two for another reason."""
    found = [region(number, 0.01 + number / 1000) for number in range(40)]
    found += [region(40, 0.9), region(41, 0.8), region(42, 0.95)]
    decided = [region(number, 0.01 + number / 1000, "low_score") for number in range(40)]
    decided += [region(40, 0.9, "duplicate"), region(41, 0.8, "duplicate")]
    last = Annotations(regions=[*decided, found[42]])
    rows = {"detect": Annotations(regions=found), "filter": Annotations(regions=decided)}
    stages = []
    for name, labels in rows.items():
        row = Row(key="a", annotations=labels)
        stages.append(StageOutput(stage=name, folder=f"signals/{name}-1", row=row))
    in_round = SampleInRound(round="00-aa", status="accepted", failures=[], annotations=last)
    return SampleHistory(
        image=ImageRow(key="a", name="a.jpg", failed=None, member="a.jpg", offset=0, size=9),
        shard="shard-0",
        tries=[],
        given=Annotations(),
        truth=None,
        stages=stages,
        rounds=[in_round],
    )


def sections(text: str) -> dict[str, list[str]]:
    found = {}
    for section in text.split("\n\n"):
        title, *lines = section.splitlines()
        found[title.split()[0]] = [line.strip() for line in lines]
    return found


def test_kept_labels_come_first_and_many_dropped_ones_are_counted() -> None:
    told = sections(explain(story()))
    kept = "region 0.detect.42  cup at 0 0 9 9  score 0.950  (detect)"
    folded = "and 40 regions  DROPPED low_score  score 0.010 to 0.049  (--all lists them)"
    assert told["detect"] == [
        kept,
        folded,
        "region 0.detect.40  cup at 0 0 9 9  score 0.900  (detect)",
        "region 0.detect.41  cup at 0 0 9 9  score 0.800  (detect)",
    ]
    assert told["filter"] == [
        folded,
        "region 0.detect.40  cup at 0 0 9 9  DROPPED duplicate",
        "region 0.detect.41  cup at 0 0 9 9  DROPPED duplicate",
    ]
    assert told["round"][:2] == [kept, folded] and len(told["round"]) == 4


def test_all_has_a_line_for_each_label_in_their_order() -> None:
    told = sections(explain(story(), whole=True))
    assert [len(told[name]) for name in ("detect", "filter", "round")] == [43, 42, 43]
    assert told["round"][0].endswith("DROPPED low_score")
    assert told["detect"][-1].startswith("region 0.detect.42")


def test_what_a_later_round_dropped_is_counted_there_and_in_the_stages() -> None:
    history = story()
    first = [region(number, 0.9) for number in range(5)]
    later = [region(number, 0.9, "not_supported") for number in range(5)]
    history.rounds[:] = [
        SampleInRound(round=name, status=None, failures=[], annotations=Annotations(regions=labels))
        for name, labels in (("00-aa", first), ("01-bb", later))
    ]
    last = explain(history).split("\n\n")[-1].splitlines()
    folded = "  and 5 regions  DROPPED not_supported  score 0.900 to 0.900  (--all lists them)"
    assert last == ["round 01-bb", folded, "  0 kept as they were"]
