"""Generated tars: no traceback, no member lost, and the samples that webdataset itself reads.

scripts/test --slow tests/stages/sources/test_fuzz_tars.py
"""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import webdataset
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from stages.source import Item
from stages.sources.webdataset import WebDatasetConfig, WebDatasetSource

pytestmark = pytest.mark.slow
FUZZ = settings(
    max_examples=500,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXTS = ("txt", "json.caption")
IMAGES = ("jpg", "JPG", "Jpeg", "png", "seg.png", "tif")
LABELS = ("txt", "TXT", "json", "JSON", "cls", "npy")
# Members that hold nothing of a sample, by name and kind.
NOISE = (
    ("._a.jpg", tarfile.REGTYPE),
    (".DS_Store", tarfile.REGTYPE),
    ("__MACOSX/d/._a.txt", tarfile.REGTYPE),
    ("__MACOSX/a.jpg", tarfile.REGTYPE),
    ("__info__", tarfile.REGTYPE),
    ("a", tarfile.DIRTYPE),
    ("./", tarfile.DIRTYPE),
    ("a.jpg", tarfile.DIRTYPE),
    ("volume", b"V"),
)
# Members that make a sample fail, or are one that fails.
HOSTILE = (
    ("README", tarfile.REGTYPE),
    ("a.jpg", tarfile.SYMTYPE),
    ("a.txt", tarfile.LNKTYPE),
    ("b.jpg", tarfile.FIFOTYPE),
    ("../a.jpg", tarfile.REGTYPE),
    ("/a.jpg", tarfile.REGTYPE),
)


@dataclass(frozen=True)
class Member:
    name: str
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""


@dataclass(frozen=True)
class Tar:
    members: tuple[Member, ...]
    mode: Literal["w", "w:gz", "w:bz2", "w:xz"]
    format: int

    def bytes(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(None, self.mode, buffer, format=self.format) as file:
            for member in self.members:
                info = tarfile.TarInfo(member.name)
                info.type, info.size, info.linkname = member.kind, len(member.content), "a.jpg"
                file.addfile(info, io.BytesIO(member.content))
        return buffer.getvalue()


@st.composite
def tars(draw: st.DrawFn, hostile: bool = True, packed: bool = True) -> Tar:
    """A tar of up to a dozen members, each with a content of its own."""
    keys = st.sampled_from(["a", "b", "B", "./a", "d/a", "d.e/a", "k" * 120, "d" * 160 + "/é"])
    members = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.integers(0, 9))
        if kind == 0 or (kind == 1 and hostile):
            name, type_ = draw(st.sampled_from(HOSTILE if kind else NOISE))
            content = b"x" * number if type_ == tarfile.REGTYPE else b""
            members.append(Member(name, type_, content))
            continue
        field = draw(st.sampled_from(IMAGES + LABELS))
        content = _content(draw, field, number)
        if packed and draw(st.integers(0, 5)) == 0:
            field, content = field + draw(st.sampled_from([".gz", ".GZ"])), gzip.compress(content)
        members.append(Member(f"{draw(keys)}.{field}", content=content))
    mode = draw(st.sampled_from(["w", "w", "w:gz", "w:bz2", "w:xz"]))
    return Tar(
        tuple(members), mode, draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    )


def _content(draw: st.DrawFn, field: str, number: int) -> bytes:
    """Bytes that no other member has."""
    if field.lower() != "json":
        size = draw(st.sampled_from([0, 1, 600]))
        return b"%d:" % number + b"x" * size
    caption = draw(st.sampled_from(["one", ["one", "two"], 7, None, {"x": "y"}]))
    value = draw(st.sampled_from([{"caption": caption}, {"other": "x"}, [1], "text"]))
    return json.dumps([value, number] if value == [1] else value).encode()


def read(data: bytes, folder: Path) -> list[Item]:
    (folder / "x.tar").write_bytes(data)
    source = WebDatasetSource(WebDatasetConfig(path=str(folder / "x.tar"), texts=TEXTS))
    return list(source.read(["x.tar"]))


def told(found: list[Item]) -> list[tuple[str, bytes | None, str | None, list[str]]]:
    rows = []
    for item in found:
        reason = item.failed.reason if item.failed else None
        rows.append((item.name, item.data, reason, [text.text for text in item.given.texts]))
    return rows


def plain(member: Member) -> tuple[str, str, bytes]:
    """(key, field in lower case, content) of a member, unpacked."""
    folder, slash, base = member.name.removeprefix("./").rpartition("/")
    stem, _, field = base.partition(".")
    content = member.content
    if field.lower().endswith(".gz"):
        field, content = field[:-3], gzip.decompress(content)
    return f"{folder}{slash}{stem}", field.lower(), content


def samples(tar: Tar) -> list[Member]:
    noise_and_hostile = {*NOISE, *HOSTILE}
    return [member for member in tar.members if (member.name, member.kind) not in noise_and_hostile]


@FUZZ
@given(tar=tars())
def test_every_picture_is_an_item_or_its_sample_has_a_reason(tar: Tar, tmp_path: Path) -> None:
    found = read(tar.bytes(), tmp_path)
    good = {item.data for item in found if not item.failed}
    failed = {item.name for item in found if item.failed}
    pictures = 0
    for member in samples(tar):
        key, field, content = plain(member)
        if field.endswith(("jpg", "jpeg", "png", "tif")):
            pictures += 1
            assert content in good or f"x.tar/{key}" in failed, (member, told(found))
        else:
            # A label is in a sample of its key, good or failed.
            names = {item.name.removeprefix("x.tar/") for item in found}
            assert any(name == key or name.startswith(f"{key}.") for name in names)
    assert len(good) <= pictures
    for member in tar.members:
        if (member.name, member.kind) in HOSTILE and member.name == "README":
            assert "x.tar/README" in failed
    event(f"pictures: {pictures}")


def by_webdataset(path: Path) -> Iterator[dict[str, Any]]:
    dataset = webdataset.WebDataset(
        str(path), shardshuffle=False, empty_check=False, nodesplitter=None
    )
    yield from dataset


@FUZZ
@given(tar=tars(hostile=False, packed=False))
def test_what_webdataset_reads_is_read_alike(tar: Tar, tmp_path: Path) -> None:
    """Where it reads the tar: it refuses names that come twice, and knows nothing of macOS."""
    mac = tuple(member for member in tar.members if "MACOSX" not in member.name)
    members = tuple(
        Member(m.name.removeprefix("./"), m.kind, m.content) for m in mac if m.name != "./"
    )
    tar = Tar(members, "w", tar.format)
    found = read(tar.bytes(), tmp_path)
    try:
        theirs = list(by_webdataset(tmp_path / "x.tar"))
    except ValueError as error:
        assert "duplicate file name" in str(error)
        event("refused by webdataset")
        return
    expected = []
    for sample in theirs:
        fields = {name: value for name, value in sample.items() if not name.startswith("__")}
        pictures = [name for name in fields if name.endswith(("jpg", "jpeg", "png", "tif"))]
        if len(pictures) == 1:
            expected.append((fields[pictures[0]], fields.get("txt")))
    ours = []
    for item in found:
        if not item.failed:
            texts = [text.text.encode() for text in item.given.texts]
            ours.append((item.data, texts))
    assert [data for data, _ in ours] == [data for data, _ in expected]
    for (_, texts), (_, text) in zip(ours, expected, strict=True):
        assert text is None or text in texts
    assert len(found) >= len(theirs)


@FUZZ
@given(tar=tars(), data=st.data())
def test_a_tar_cut_anywhere_gives_what_came_before_and_says_so(
    tar: Tar, data: st.DataObject, tmp_path: Path
) -> None:
    whole = tar.bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    all_rows = told(read(whole, tmp_path))
    rows = told(read(whole[:cut], tmp_path))
    problems = [row for row in rows if row[0] == "x.tar"]
    known = {(name, picture) for name, picture, _, _ in all_rows}
    # The sample that was cut may have lost its second picture, which made it fail.
    keys = {name for name, _, _, _ in all_rows}
    for name, picture, reason, _ in rows:
        if name != "x.tar" and reason is None:
            assert (
                (name, picture) in known
                or name.rpartition(".")[0] in keys
                or any(name.startswith(f"{key}.") for key in keys)
            )
    lost = len(all_rows) - (len(rows) - len(problems))
    assert problems or lost <= 0, (cut, all_rows, rows)
    event(f"problem: {problems[0][2] if problems else None}")


@FUZZ
@given(tar=tars(), data=st.data())
def test_a_tar_with_broken_bytes_raises_nothing(
    tar: Tar, data: st.DataObject, tmp_path: Path
) -> None:
    content = bytearray(tar.bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(content), tmp_path)


@FUZZ
@given(content=st.binary(max_size=2000))
def test_any_bytes_raise_nothing(content: bytes, tmp_path: Path) -> None:
    found = read(content, tmp_path)
    assert all(item.failed for item in found)
