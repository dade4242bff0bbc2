"""Images with CVAT's XML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.geometry import decode_mask
from tests.stages.sources.forms import picture, write_folder
from tests.stages.sources.labelled import boxes, labels_of, source_of

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels>
    <label><name>car</name></label><label><name>dog</name></label>
  </labels></task></meta>
  <image id="0" name="cam/a.jpg" width="48" height="40">
    <box label="dog" occluded="0" xtl="4.0" ytl="5.5" xbr="14.0" ybr="25.5" z_order="0"></box>
    <box label="dog" xtl="4" ytl="5" xbr="14" ybr="25" rotation="30.0"></box>
    <polygon label="car" points="0.0,0.0;10.0,0.0;10.0,10.0;0.0,10.0"></polygon>
    <mask label="car" rle="1, 2, 3" left="20" top="30" width="3" height="2"></mask>
    <points label="dog" points="1,1"></points>
    <tag label="street"></tag>
  </image>
  <image id="1" name="cam/b.jpg" width="48" height="40"/>
</annotations>
"""


def test_boxes_polygons_and_masks_of_cvat_come_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "images", {"a.jpg": picture(1), "b.jpg": picture(2)})
    (tmp_path / "annotations.xml").write_text(CVAT)
    source = source_of("cvat", path=tmp_path / "images", xml=tmp_path / "annotations.xml")
    found = labels_of(source)
    assert boxes(found["cam/a.jpg"]) == [
        ("dog", (4.0, 5.5, 14.0, 25.5), None),
        ("dog", (0.0, 0.0, 0.0, 0.0), "malformed_box"),
        ("car", (0.0, 0.0, 10.0, 10.0), None),
        ("car", (20.0, 30.0, 23.0, 32.0), None),
    ]
    polygon, drawn = found["cam/a.jpg"].regions[2].mask, found["cam/a.jpg"].regions[3].mask
    assert polygon is not None and decode_mask(polygon).sum() == 100
    assert drawn is not None
    rows, columns = np.nonzero(decode_mask(drawn))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(30, 21), (30, 22)]
    assert len(found["cam/b.jpg"]) == 0
    assert "2 tags, points, lines and skeletons are left out" in caplog.text
    assert source.ids().images == {"cam/a.jpg": 1, "cam/b.jpg": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations></annotations>", "no <image> in <annotations>"),
        ("<annotations><track/></annotations>", "export a video as images"),
        ("<annotations>", "not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "a document type is in it"),
    ],
)
def test_what_is_wrong_with_the_xml_is_said_in_a_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=message):
        source_of("cvat", path=tmp_path, xml=tmp_path / "a.xml")
