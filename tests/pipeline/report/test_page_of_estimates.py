"""What the report says of changes whose worth is estimated without truth."""

from __future__ import annotations

import re

from pipeline.refinement.estimates import Changes, Decision, Estimate
from pipeline.report.charts import quality_charts
from pipeline.report.html import write_report
from pipeline.report.views import ReportData, RoundView

REGIONS = Estimate(
    labels=100,
    right=60.0,
    recall=0.5,
    added=Decision(made=Changes(40, 32.0), refused=Changes(50, 5.0)),
    renamed=Decision(made=Changes(0, 0.0), refused=Changes(1409, 436.8)),
    dropped=Decision(made=Changes(0, 0.0)),
)


def rounds() -> list[RoundView]:
    first = RoundView(name="00-aa", status="accepted", kept={"regions": 100})
    second = RoundView(
        name="01-bb",
        status="accepted",
        parent="00-aa",
        reason="better",
        kept={"regions": 140},
        estimates={"regions": REGIONS.plain()},
    )
    return [first, second]


def test_what_is_done_and_not_done_is_told_with_the_share_that_is_right() -> None:
    data = ReportData(experiment="e", head="01-bb", images=3, rounds=rounds(), pictures=[])
    page = write_report(data)
    rows = re.findall(r"<tr>\s*<td>regions</td>.*?</tr>", page, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in rows]
    # 60 of 100 labels are right, of 120 things; then 92 of 140.
    f1 = ["0.545", "0.708"]
    assert cells == [
        ["regions", "added", "40", "80%", "50", "10%", *f1],
        ["regions", "renamed", "0", "-", "1,409", "31%", *f1],
    ]
    assert "F1 of regions, estimated without truth" in page


def test_without_truth_the_curve_is_the_estimated_f1() -> None:
    (chart,) = quality_charts(rounds())
    assert chart.title == "regions, estimated without truth"
    (line,) = chart.lines
    assert [point.text.split()[-1] for point in line.points] == ["0.545", "0.708"]
