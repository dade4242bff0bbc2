from __future__ import annotations

import io
import json
import re

from PIL import Image

from pipeline.quality.audit import sample, score
from pipeline.report.audit import audit_page
from pipeline.schema import Annotations, Record, Region, Text, TextRegion


def test_the_page_shows_each_item_and_lists_it_for_scoring() -> None:
    annotations = Annotations(
        texts=[Text(id="t", source="caption", granularity="brief", text="a </script> dog")],
        regions=[Region(id="r", source="detect", box=(4, 4, 30, 30), phrase="dog", brief="red dog")],
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
        ("texts", "t", "caption"), ("regions", "r", "detect"), ("text_regions", "o", "ocr"),
    ]  # fmt: skip
    judged = {"round": "00-aa", "items": [{**item, "verdict": "yes"} for item in items]}
    assert [row["precision"] for row in score(judged) if row["source"] == "all"] == [1.0, 1.0, 1.0]
