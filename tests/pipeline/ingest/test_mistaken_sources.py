"""What sources may not be, and which source a message is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.ingest.assignment import assign_all, list_sources, naming
from pipeline.ingest.refused import Refused
from pipeline.ingest.several import IngestAll, SourceWork
from pipeline.ingest.source_files import names_of, read_listings
from pipeline.plan.shard_state import ShardState
from pipeline.storage.store import Store
from stages.base import StageError
from tests.pipeline.ingest.sources import Sources, ingested, run_of


def test_a_source_that_is_gone_or_has_another_name_is_refused_in_a_line(
    tmp_path: Path, two: Sources
) -> None:
    work = tmp_path / "w"
    ingested(run_of(work, two))
    photos = two["photos"]["path"]
    coco = {"coco": two["coco"]}
    for sources, message in (
        (
            coco,
            f"sources: {work} holds images of the source photos; add it again by "
            f"sources.photos.use=folder sources.photos.path={photos}, or give another work",
        ),
        (
            {**coco, "snaps": two["photos"]},
            f"sources.snaps: {work} holds these images as the source photos, and its keys begin "
            "with that name; call it photos, or give another work",
        ),
        (
            {**two, "coco": {**two["coco"], "path": photos}, "photos": {**two["photos"]}},
            f"sources.coco: the same images as sources.photos ({photos}) would come in twice; "
            "leave one of the two out",
        ),
        (
            {**two, "coco": {"use": "folder", "path": tmp_path / "coco"}},
            f"sources.coco.use=folder: {work} holds images of use=coco; give another work",
        ),
    ):
        with pytest.raises(ValueError) as error:
            run = run_of(work, sources)
            assign_all(Store(run.work), run.all_sources, {}, publish=False)
        assert str(error.value) == message
    single = parse(compose(["source=folder", f"source.path={photos}", f"work={work}"]))
    with pytest.raises(ValueError) as error:
        ingested(single)
    assert str(error.value) == (
        f"source.use=folder: {work} holds images of the sources coco, photos; give all of them as "
        "sources.NAME, or give another work"
    )


def test_a_source_without_a_name_must_be_among_those_with_names(
    tmp_path: Path, two: Sources
) -> None:
    work = tmp_path / "w"
    photos = two["photos"]["path"]
    ingested(parse(compose(["source=folder", f"source.path={photos}", f"work={work}"])))
    with pytest.raises(ValueError) as error:
        ingested(run_of(work, {"coco": two["coco"]}))
    assert str(error.value) == (
        f"sources: {work} holds images of a source that had no name; add it by "
        f"sources.NAME.use=folder sources.NAME.path={photos} with a NAME of your choice, or give "
        "another work"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["sources.a_b.use=scenes"],
            "sources.a_b: use small letters, digits and single - between them for a name, at most "
            "32",
        ),
        (["sources.A.use=scenes"], "sources.A: use small letters"),
        (["sources.shard.use=scenes"], "sources.shard: shards of a run with one source"),
        (["sources.a.path=x"], "sources.a.use: not set; name a source (sources.a.use=folder)"),
        (
            ["sources.coco.use=scenes", "sources.cocoo.limit=3"],
            "sources.cocoo: no such source; did you mean sources.coco? "
            "A new source needs sources.cocoo.use=...",
        ),
        (["sources.a.use=scenes", "source.limit=3"], "source and sources: give one of the two"),
        (["source=null"], "source: not set; give it a value (source=folder source.path=DIR)"),
        (["sources.a=null"], "source: not set; give it a value"),
        (["sources.a.use=folder", "sources.a.pth=x"], "sources.a.pth: no such setting"),
        (
            ["sources.a.use=scenes", "sources.b.use=scenes"],
            "sources.b: the same images as sources.a",
        ),
    ],
)
def test_what_sources_may_not_be_is_said_in_a_line(words: list[str], message: str) -> None:
    values = compose(["sources.a=null", *words] if words == ["sources.a=null"] else words)
    if words == ["sources.a=null"]:
        values = {**values, "source": None}
    with pytest.raises(ValueError) as error:
        parse(values)
    assert str(error.value).startswith(message)


def test_warnings_and_errors_of_a_source_name_it(
    tmp_path: Path, two: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "photos" / "notes.txt").write_text("")
    listings = read_listings(run_of(tmp_path / "w", two))
    assert names_of(listings)["photos"] == [f"{i:012d}.jpg" for i in range(3)]
    assert f"sources.photos.path={tmp_path / 'photos'}: 1 files are no images" in caplog.text
    moved = {**two, "photos": {**two["photos"], "path": tmp_path / "nowhere"}}
    with pytest.raises(ValueError, match=r"^sources\.photos\.path=.*nowhere: no such folder"):
        list_sources(run_of(tmp_path / "w", moved))


def test_a_source_that_a_worker_cannot_open_ends_the_run_in_a_line(
    tmp_path: Path, two: Sources
) -> None:
    run = run_of(tmp_path / "w", two)
    names = list_sources(run)
    (tmp_path / "instances.json").rename(tmp_path / "elsewhere.json")
    config = run.sources["coco"]
    work = SourceWork(config, {"coco-000000": names["coco"]}, Refused.of(config, "coco"))
    with pytest.raises(StageError) as error:
        IngestAll(run.work, {"coco": work})("coco-000000", ShardState())
    assert str(error.value) == (
        f"sources.coco.instances={tmp_path / 'instances.json'}: no such file"
    )


def test_only_settings_in_a_message_are_renamed() -> None:
    with pytest.raises(ValueError) as error, naming("web"):
        raise ValueError("source.path=/a/source.old: only tables; use source=parquet")
    assert str(error.value) == (
        "sources.web.path=/a/source.old: only tables; use sources.web.use=parquet"
    )
