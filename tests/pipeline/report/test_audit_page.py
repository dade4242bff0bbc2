from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from pipeline.quality.audit import sample, score
from pipeline.report.audit import audit_page
from pipeline.rows import Record
from pipeline.schema import Annotations, Region, Text, TextRegion
from tests.pipeline.report.browser import CHROMIUM, WHY_SKIPPED, Browser


def test_the_page_shows_each_item_and_lists_it_for_scoring() -> None:
    annotations = Annotations(
        texts=[Text(id="t", source="caption", granularity="brief", text="a </script> dog")],
        regions=[
            Region(id="r", source="detect", box=(4, 4, 30, 30), phrase="dog", brief="red dog")
        ],
        text_regions=[TextRegion(id="o", source="ocr", quad=(0, 0, 9, 0, 9, 5, 0, 5), text="GO")],
    )
    record = Record(key="k", name="", width=40, height=40, sha256="", annotations=annotations)
    file = io.BytesIO()
    Image.new("RGB", (40, 40)).save(file, "PNG")
    page = audit_page("00-aa", sample([record], 5), {"k": file.getvalue()})
    assert page.count("data:image/png;base64,") == 1 and page.count('href="#image-0"') == 3
    assert "red dog" in page and "a &lt;/script&gt; dog" in page
    listed = re.search(r"items: (\[.*\])};", page)
    assert listed is not None
    items = json.loads(listed[1])
    assert [(item["type"], item["id"], item["source"]) for item in items] == [
        ("texts", "t", "caption"),
        ("regions", "r", "detect"),
        ("text_regions", "o", "ocr"),
    ]
    judged = {"round": "00-aa", "items": [{**item, "verdict": "yes"} for item in items]}
    assert [row["precision"] for row in score(judged) if row["source"] == "all"] == [1.0, 1.0, 1.0]


CLICKS = """
  cards[0].querySelector(".yes").click();
  cards[1].querySelector(".no").click();
  cards[1].querySelector(".yes").click();
  cards[2].focus();
"""


@pytest.mark.subprocess
@pytest.mark.skipif(CHROMIUM is None, reason=WHY_SKIPPED)
def test_in_a_browser_the_page_judges_by_clicks_and_keys_and_saves_a_file_that_is_scored(
    tmp_path: Path,
) -> None:
    regions = [
        Region(id=str(i), source="detect", box=(4, 4, 30, 30), phrase="dog") for i in range(4)
    ]
    record = Record(
        key="k", name="", width=40, height=40, sha256="", annotations=Annotations(regions=regions)
    )
    file = io.BytesIO()
    Image.new("RGB", (40, 40)).save(file, "PNG")
    page = audit_page("00-aa", sample([record], 4), {"k": file.getvalue()})
    (tmp_path / "page.html").write_text(page)
    with Browser(tmp_path) as browser:
        browser.open(f"file://{tmp_path / 'page.html'}")
        browser.evaluate(CLICKS)
        browser.press("n")
        file_name = browser.download("document.querySelector('button.save').click()")
        assert browser.complaints() == []
    assert file_name == "audit-00-aa.json"
    saved = json.loads((tmp_path / file_name).read_text())
    assert [item["verdict"] for item in saved["items"]] == ["yes", "yes", "no", None]
    assert [(row["source"], row["judged"], row["right"]) for row in score(saved)] == [
        ("all", 3, 2),
        ("detect", 3, 2),
    ]
