import gzip
import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from stages.source import Item
from stages.sources import tar_texts
from stages.sources.webdataset import WebDatasetConfig, WebDatasetSource
from tests.stages.sources.forms import picture, pictures, write_webdataset
from tests.stages.sources.test_tars import tar


def items(data: bytes, tmp_path: Path, **settings: Any) -> list[Item]:
    (tmp_path / "x.tar").write_bytes(data)
    source = WebDatasetSource(WebDatasetConfig(path=str(tmp_path), **settings))
    return list(source.read(source.list()))


def reasons(found: list[Item]) -> list[tuple[str, str | None]]:
    return [(item.name, item.failed.reason if item.failed else None) for item in found]


def test_what_shard_writer_wrote_is_read_a_tar_at_a_time(tmp_path: Path) -> None:
    images = pictures(3)
    texts = {"000000000001.jpg": "A dog."}
    source = WebDatasetSource(
        WebDatasetConfig(path=str(write_webdataset(tmp_path / "w", images, 2, texts)))
    )
    assert source.whole and source.list() == ["00000.tar", "00001.tar"]
    first, second = source.read(["00000.tar"])
    assert (first.name, first.data) == ("00000.tar/000000000000.jpg", images["000000000000.jpg"])
    assert [(t.text, t.source, t.granularity) for t in second.given.texts] == [
        ("A dog.", "alt", "alt")
    ]
    assert len(list(source.read(source.list()))) == 3


def test_keys_are_the_tars_too_unless_the_samples_own_are_unique(tmp_path: Path) -> None:
    data = tar(("d/1.jpg", picture(1)))
    assert items(data, tmp_path)[0].key is None
    assert items(data, tmp_path, unique_keys=True)[0].key == "d/1.jpg"


def test_texts_come_from_fields_and_entries_of_json_each_once(tmp_path: Path) -> None:
    told = json.dumps({"caption": ["one", "two"], "alt": "A dog."}).encode()
    data = tar(
        ("1.jpg", b"i"),
        ("1.txt", b" A dog.\n"),
        ("1.json", told),
        ("2.jpg", b"i"),
        ("2.json", b"{broken"),
    )
    first, second = items(data, tmp_path)
    assert [t.text for t in first.given.texts] == ["A dog.", "one", "two"]
    assert [(t.text, t.dropped) for t in second.given.texts] == [("", "malformed_json")]


def test_a_text_that_is_none_is_cut_and_dropped_and_bad_bytes_are_replaced(tmp_path: Path) -> None:
    texts = (b"x" * 20_000, b"caf\xe9", b" ")
    data = tar(
        *(m for i, text in enumerate(texts) for m in ((f"{i}.jpg", b"i"), (f"{i}.txt", text)))
    )
    long, bad, blank = (item.given.texts for item in items(data, tmp_path))
    assert (len(long[0].text), long[0].dropped) == (10_000, "too_long")
    assert (bad[0].text, bad[0].dropped) == ("caf\ufffd", None)
    assert blank == []


def test_a_sample_without_an_image_or_with_two_has_a_reason(tmp_path: Path) -> None:
    data = tar(("1.txt", b"t"), ("2.jpg", b"i"), ("2.png", b"i"), ("3.JPEG", b"i"), ("4.mp", b"m"))
    found = items(data, tmp_path)
    assert reasons(found) == [
        ("x.tar/1", "no_image"),
        ("x.tar/2", "several_images"),
        ("x.tar/3.JPEG", None),
        ("x.tar/4", "no_image"),
    ]
    assert (
        found[1].failed
        and found[1].failed.detail == "the sample has jpg, png; choose with source.image"
    )
    chosen = items(data, tmp_path, image="png")
    assert reasons(chosen)[1] == ("x.tar/2.png", None)


def test_packed_images_are_unpacked(tmp_path: Path) -> None:
    (item,) = items(tar(("1.jpg.gz", gzip.compress(b"image"))), tmp_path)
    assert (item.name, item.data) == ("x.tar/1.jpg", b"image")


def test_a_broken_or_missing_tar_is_a_row_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar at all")
    (tmp_path / "b.tgz").write_bytes(tar(("1.jpg", b"i"), mode="w:gz"))
    source = WebDatasetSource(WebDatasetConfig(path=str(tmp_path)))
    assert reasons(list(source.read([*source.list(), "gone.tar"]))) == [
        ("a.tar", "not_a_tar"),
        ("b.tgz/1.jpg", None),
        ("gone.tar", "unreadable"),
    ]


@pytest.fixture
def bucket() -> str:
    store = fsspec.filesystem("memory")
    store.pipe({"/tars/0.tar": tar(("1.jpg", b"i"), ("1.txt", b"A cat."))})
    yield "memory://tars"
    store.rm("/tars", recursive=True)


def test_tars_are_streamed_from_any_store(bucket: str) -> None:
    source = WebDatasetSource(WebDatasetConfig(path=bucket))
    (item,) = source.read(source.list())
    assert (item.data, item.given.texts[0].text) == (b"i", "A cat.")


def texts(found: list[Item]) -> list[list[str]]:
    return [[text.text for text in item.given.texts] for item in found]


UPPER = tar(
    ("0001.JPG", b"1"),
    ("0001.TXT", b"a red box"),
    ("0002.Jpeg", b"2"),
    ("0002.JSON", b'{"caption": "a blue ball", "Alt": "of the Grass"}'),
    ("0003.png", b"3"),
    ("0003.TXT.gz", gzip.compress(b"a green tree")),
)


def test_fields_in_upper_case_are_read_and_names_keep_their_spelling(tmp_path: Path) -> None:
    found = items(UPPER, tmp_path)
    assert texts(found) == [["a red box"], ["a blue ball"], ["a green tree"]]
    assert [item.name for item in found] == ["x.tar/0001.JPG", "x.tar/0002.Jpeg", "x.tar/0003.png"]


def test_settings_may_name_fields_in_upper_case_too(tmp_path: Path) -> None:
    found = items(UPPER, tmp_path, texts=("Txt", "Json.Alt"))
    assert texts(found) == [["a red box"], ["of the Grass"], ["a green tree"]]
    assert [item.failed is None for item in items(UPPER, tmp_path, image="JPG")] == [
        True,
        False,
        False,
    ]


def test_texts_lie_at_any_depth_of_json_whatever_the_field_is_called(tmp_path: Path) -> None:
    told = {"caption": {"en": "one", "all": [{"raw": "two"}, {"raw": ["three"]}]}, "a.b": "four"}
    data = tar(
        ("1.jpg", b"i"), ("1.meta.json", json.dumps(told).encode()), ("1.Info", b'{"x": "5"}')
    )
    named = ("meta.json.caption.en", "meta.json.caption.all.raw", "meta.json.a.b", "info.x")
    assert texts(items(data, tmp_path, texts=named)) == [["one", "two", "three", "four", "5"]]


PROMPTS = tar(("1.jpg", b"i"), ("1.prompt", b"a dog"), ("1.json", b'{"caption": "a", "width": 4}'))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"texts": ("promt",)},
            r"source.texts=promt: there is no such field in the first 1 samples; "
            r"did you mean prompt\?",
        ),
        ({"texts": ("json.Caption",)}, r"did you mean json.caption\?"),
        ({"texts": ("json.width",)}, "source.texts=json.width: it holds no text in"),
        ({"texts": ("prompt", "cls")}, "source.texts=cls: .* there are prompt, json.caption"),
        ({"image": "seg"}, "source.image=seg: there is no such field .* there are jpg"),
    ],
)
def test_a_field_that_no_sample_has_is_refused_with_the_nearest(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        items(PROMPTS, tmp_path, **settings)


def test_fields_that_some_sample_has_are_fine_and_so_are_those_of_the_default(
    tmp_path: Path,
) -> None:
    (tmp_path / "y.tar").write_bytes(tar(("1.jpg", b"i"), ("1.TEXT", b"one")))
    assert len(items(PROMPTS, tmp_path, texts=("prompt", "text"))) == 2
    assert len(items(tar(("1.jpg", b"i")), tmp_path)) == 2


def test_a_field_that_later_samples_may_have_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tar_texts, "LOOK", 2)
    pairs = [((f"{i}.jpg", b"i"), (f"{i}.txt", b"one")) for i in range(3)]
    data = tar(*(member for pair in pairs for member in pair), ("2.ocr", b"two"))
    assert texts(items(data, tmp_path, texts=("txt", "ocr")))[2] == ["one", "two"]
    assert caplog.messages == [
        "source.texts=ocr: there is no such field in the first 2 samples; later ones may have it"
    ]
