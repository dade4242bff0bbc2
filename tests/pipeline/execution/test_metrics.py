"""The dashboard asks for metrics that exist."""

import json
import re
from pathlib import Path

from pipeline.execution import metrics

DASHBOARD = Path(metrics.__file__).with_name("grafana.json")


def test_every_metric_of_the_dashboard_is_counted_and_the_other_way_round() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    asked = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            asked |= set(re.findall(r"ray_fld_\w+", target["expr"]))
    names = (
        metrics.SAMPLES,
        metrics.STAGE_SECONDS,
        metrics.BUSY_SECONDS,
        metrics.SHARDS,
        metrics.ERRORS,
    )
    # Ray adds the prefix; OpenTelemetry, which it exports with, adds `_total` to counters.
    assert asked == {f"ray_{name}_total" for name in names}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
