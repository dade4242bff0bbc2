"""Which licence the images of a source have in a release."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.release.config import ReleaseConfig
from pipeline.release.config import parse as parse_release
from pipeline.release.survey import source_of
from pipeline.release.terms import complete, with_licences
from pipeline.storage.sources import StoredSource, WorkSources

TWO = [
    "sources.coco.use=folder",
    "sources.coco.path=a",
    "sources.oi.use=folder",
    "sources.oi.path=b",
]
WORK = WorkSources({name: StoredSource({}, name) for name in ("coco", "oi")})


def run_of(*words: str) -> RunConfig:
    return parse(compose(list(words)))


def release_of(*words: str) -> ReleaseConfig:
    return parse_release(["name=a", "version=1", *words])


def test_the_licence_of_the_run_is_that_of_the_release() -> None:
    single = run_of("source=folder", "source.path=a", "source.licence=CC-BY-4.0")
    terms = with_licences(release_of(), single, WorkSources(single={})).sources
    assert {name: (own.licence, own.names) for name, own in terms.items()} == {
        "folder": ("CC-BY-4.0", "*")
    }
    named = release_of("sources.mine.licence=CC0-1.0")
    assert with_licences(named, single, WorkSources(single={})) == named


def test_each_source_has_its_own_licence_and_a_release_may_say_another() -> None:
    run = run_of(*TWO, "sources.coco.licence=CC-BY-4.0", "sources.oi.licence=CC-BY-2.0")
    config = release_of("sources.oi.licence=CC0-1.0", "sources.oi.url=https://x")
    terms = with_licences(config, run, WORK).sources
    assert {name: own.licence for name, own in terms.items()} == {
        "coco": "CC-BY-4.0",
        "oi": "CC0-1.0",
    }
    assert source_of(WORK.full_name("oi-000003", "coco/1.jpg"), terms) == "oi"
    assert source_of(WORK.full_name("coco-000000", "1.jpg"), terms) == "coco"


def test_a_pattern_is_one_for_the_names_of_its_source() -> None:
    run = run_of(*TWO, "sources.coco.licence=CC-BY-4.0", "sources.oi.licence=CC-BY-2.0")
    config = release_of("sources.flickr.licence=CC0-1.0", "sources.flickr.names=oi/flickr/*")
    terms = with_licences(config, run, WORK).sources
    assert source_of(WORK.full_name("oi-000000", "flickr/1.jpg"), terms) == "flickr"
    assert source_of(WORK.full_name("oi-000000", "1.jpg"), terms) == "oi"


def test_a_source_without_a_licence_is_refused_by_its_name() -> None:
    run = run_of(*TWO, "sources.coco.licence=CC-BY-4.0")
    with pytest.raises(ValueError) as error:
        with_licences(release_of(), run, WORK)
    assert str(error.value) == (
        "sources: no licence; set sources.oi.licence to the licence of the images, such as "
        "CC-BY-4.0"
    )
    without = replace(run, source=run.sources["oi"], sources={})
    with pytest.raises(ValueError, match=r"set sources\.folder\.licence"):
        with_licences(release_of(), without, WorkSources(single={}))


def test_all_that_a_release_needs_is_asked_for_at_once() -> None:
    single = run_of("source=folder", "source.path=a")
    with pytest.raises(ValueError) as error:
        complete([], single, WorkSources(single={}))
    assert str(error.value) == (
        "name, version and sources.folder.licence: not set; give them values (name=NAME "
        "version=1.0.0 sources.folder.licence=CC-BY-4.0)"
    )
    two = run_of(*TWO, "sources.coco.licence=CC-BY-4.0")
    with pytest.raises(ValueError, match=r"^version and sources\.oi\.licence: not set"):
        complete(["name=a"], two, WORK)
    with pytest.raises(ValueError, match=r"^version and sources\.oi\.licence: not set"):
        complete(["name=a", "sources.oi.url=https://x"], two, WORK)
    with pytest.raises(ValueError, match=r"^nme: no such setting; did you mean name"):
        complete(["nme=a"], two, WORK)
    named = complete(["name=a", "version=1", "sources.oi.licence=CC0-1.0"], two, WORK)
    assert with_licences(named, two, WORK).sources["coco"].licence == "CC-BY-4.0"


def test_several_sources_without_a_licence_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"set sources\.coco\.licence and sources\.oi\.licence to"):
        with_licences(release_of(), run_of(*TWO), WORK)
