"""A run that labels nothing ends with the reasons, and makes no round."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.errors import NothingLabelled
from pipeline.ingest.assignment import list_sources
from pipeline.refinement.executor import RunExecutor
from pipeline.refinement.loop import Loop
from pipeline.report.data import report_data
from pipeline.report.endings import failures_text
from pipeline.report.terminal import rounds_table
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store
from stages import registry
from stages.base import Failed, Result, Sample
from tests.pipeline.refinement.played import Serial

NO_IMAGE = b"no image"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusesConfig:
    """The stage has no settings."""


class Refuses:
    """A stage that can do no sample, such as an endpoint that refuses every picture."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: RefusesConfig) -> None:
        pass

    def __call__(self, batch: Sequence[Sample]) -> list[Result]:
        return [Failed("refused", "it says no") for _ in batch]


def photos(folder: Path, good: int, bad: int) -> None:
    """A folder of good images and of files that are none."""
    folder.mkdir()
    for i in range(good):
        Image.new("RGB", (64, 64), (40 * i, 90, 120)).save(folder / f"good_{i}.png")
    for i in range(bad):
        (folder / f"bad_{i}.png").write_bytes(NO_IMAGE)


def label(tmp_path: Path, *overrides: str, keep_going: bool = False) -> Store:
    """Round 0 of the photos, one shard after the other in this process."""
    words = [f"work={tmp_path}/w", "source=folder", f"source.path={tmp_path}/photos"]
    run = parse(compose([*words, "refine.rounds=0", "source.shard_size=4", *overrides]))
    store = Store(run.work)
    engine: Any = Serial()
    executor = RunExecutor(store, run, engine, keep_going)
    Loop(store, run, executor).rounds(list_sources(run))
    return store


def test_where_no_image_comes_in_the_run_ends_with_the_reason_and_no_round(tmp_path: Path) -> None:
    photos(tmp_path / "photos", good=0, bad=5)
    with pytest.raises(NothingLabelled) as told:
        label(tmp_path)
    assert str(told.value) == (
        "no image came in: 5 of 5 images failed in ingest (not_an_image 5); the first is "
        "bad_0.png: not_an_image: none of JPEG, PNG, WEBP, GIF, BMP, TIFF, MPO, AVIF, HEIF; "
        f"`fld status {tmp_path}/w --limit 5` lists them"
    )
    assert not (tmp_path / "w" / "rounds").exists()


def test_where_a_stage_can_do_no_sample_the_run_ends_unless_it_shall_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.STAGES, "refuses", f"{__name__}:Refuses")
    photos(tmp_path / "photos", good=2, bad=1)
    with pytest.raises(NothingLabelled) as told:
        label(tmp_path, "specialists.second.use=refuses")
    assert str(told.value) == (
        "stage second labelled nothing: 2 of 2 samples failed in 0.second (refused 2); the first "
        f"is good_0.png: refused: it says no; `fld status {tmp_path}/w --limit 2` lists them; mend "
        f"the cause and give `fld retry {tmp_path}/w --stage second`, or go on without its labels "
        "by `fld run --keep-going`"
    )
    assert read_head(Store(f"{tmp_path}/w")) is None
    words = (f"work={tmp_path}/again", "specialists.second.use=refuses")
    head = read_head(label(tmp_path, *words, keep_going=True))
    assert head is not None and head.round.startswith("00-")


def test_the_end_of_a_run_tells_what_failed_and_warns_of_more_than_half(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos(tmp_path / "photos", good=2, bad=3)
    store = label(tmp_path)
    with caplog.at_level(logging.WARNING, "fld"):
        lines = failures_text(store).splitlines()
    failed = (
        "3 of 5 images failed in ingest (not_an_image 3); the first is bad_0.png: not_an_image: "
        "none of JPEG, PNG, WEBP, GIF, BMP, TIFF, MPO, AVIF, HEIF"
    )
    work = f"{tmp_path}/w"
    listed = f"`fld status {work} --limit 3` lists them; `fld retry {work}` tries them again"
    assert lines == ["", f"failed: {failed}", listed]
    assert f"most samples failed: {failed}" in caplog.messages


def test_the_end_of_a_run_says_nothing_of_failures_where_there_are_none(tmp_path: Path) -> None:
    photos(tmp_path / "photos", good=1, bad=0)
    assert failures_text(label(tmp_path)) == ""


def test_a_filter_that_drops_all_regions_is_told_with_its_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos(tmp_path / "photos", good=1, bad=0)
    drawn = Image.new("RGB", (64, 64), (230, 230, 230))
    drawn.paste((200, 30, 30), (16, 16, 48, 48))
    drawn.save(tmp_path / "photos" / "drawn.png")
    with caplog.at_level(logging.WARNING, "fld"):
        store = label(tmp_path, "filters.region.min_scores={detect: 1.1}")
    head = read_head(store)
    assert head is not None
    assert caplog.messages == [
        f"{head.round}: no regions are left: low_score of filters.region dropped 1 of 1; look at "
        "its setting min_score or min_scores"
    ]


def test_a_round_of_which_no_label_is_kept_is_not_called_accepted(tmp_path: Path) -> None:
    photos(tmp_path / "photos", good=2, bad=0)
    never = "{detect: 1.1, ocr: 1.1}"
    store = label(tmp_path, f"filters.region.min_scores={never}")
    head = read_head(store)
    assert head is not None and [attempt.status for attempt in head.attempts] == ["empty"]
    state = read_round_state(store, head.folder)
    assert state is not None and state.status == "empty"
    assert state.reason.startswith("no label was kept")
    table = rounds_table(report_data(store, "photos").rounds)
    assert "empty" in table and "accepted" not in table
