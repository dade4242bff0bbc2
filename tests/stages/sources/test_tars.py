import gzip
import io
import random
import tarfile
import time

import pytest

from stages.sources import tars
from stages.sources.tars import TarSample, Wanted, read_samples, split

Member = tuple[str, bytes] | tarfile.TarInfo


def tar(*members: Member, mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def read(data: bytes, wanted: Wanted = lambda field: 1 << 30) -> list[TarSample]:
    return list(read_samples(io.BytesIO(data), wanted))


def told(data: bytes) -> list[tuple[str, list[str], str | None]]:
    return [(s.key, list(s.members), s.problem.reason if s.problem else None) for s in read(data)]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_adjacent_members_of_a_key_are_a_sample_packed_or_not(mode: str) -> None:
    data = tar(("a.jpg", b"1"), ("a.seg.png", b"2"), ("./d/b.jpg", b"3"), mode=mode)
    assert [(s.key, s.members) for s in read(data)] == [
        ("a", {"jpg": b"1", "seg.png": b"2"}),
        ("d/b", {"jpg": b"3"}),
    ]


def test_the_key_ends_at_the_first_dot_of_the_last_part() -> None:
    assert split("a.b/c.d.jpg") == ("a.b/c", "d.jpg")
    assert split("./x.txt.gz") == ("x", "txt.gz")
    assert split("README") == ("README", "") and split("d/.DS_Store") == ("d/.DS_Store", "")


def test_only_wanted_members_are_read() -> None:
    data = tar(("a.jpg", b"1"), ("a.big", b"2"), ("a.txt.gz", gzip.compress(b"t")))
    (sample,) = read(data, {"jpg": 99, "txt": 99, "big": 0}.__getitem__)
    assert sample.members == {"jpg": b"1", "txt": b"t"}


def test_a_member_that_comes_twice_begins_another_sample() -> None:
    assert told(tar(("a.jpg", b"1"), ("a.jpg", b"2"))) == [
        ("a", ["jpg"], None),
        ("a", ["jpg"], None),
    ]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (("/etc/a.jpg", b"1"), "unsafe_name"),
        (("../a.jpg", b"1"), "unsafe_name"),
        (("x/../../a.jpg", b"1"), "unsafe_name"),
        (("README", b"1"), "no_key"),
        (special("x.jpg", tarfile.SYMTYPE, "/etc/passwd"), "not_a_file"),
        (special("x.jpg", tarfile.LNKTYPE, "good.jpg"), "not_a_file"),
        (special("x.jpg", tarfile.CHRTYPE), "not_a_file"),
        (special("x.jpg", tarfile.FIFOTYPE), "not_a_file"),
        (("x.txt.gz", b"no gzip"), "corrupt_gzip"),
        (("x.txt.gz", gzip.compress(b"x" * 999)[:15]), "corrupt_gzip"),
    ],
)
def test_what_cannot_be_used_is_one_sample_with_a_reason_and_the_rest_is_unharmed(
    member: Member, reason: str
) -> None:
    found = told(tar(("good.jpg", b"1"), member, ("z.jpg", b"2")))
    assert [sample for sample in found if sample[2] is None] == [
        ("good", ["jpg"], None),
        ("z", ["jpg"], None),
    ]
    assert [sample[2] for sample in found if sample[2]] == [reason]


def test_a_tar_that_ends_too_early_gives_what_came_before_and_one_problem() -> None:
    data = tar(("a.jpg", b"1" * 600), ("b.jpg", b"2" * 600), ("c.jpg", b"3" * 6000))
    for cut in (3 * 512 + 600, 2 * 1536 + 100, 2 * 1536 + 512 + 10):
        found = told(data[:cut])
        assert found[0] == ("a", ["jpg"], None)
        assert found[-1] == ("", [], "truncated_tar")
        assert len(found) == (2 if cut < 3072 else 3)


def test_a_header_destroyed_in_the_middle_is_no_end_of_the_archive() -> None:
    data = bytearray(tar(("a.jpg", b"1"), ("b.jpg", b"2")))
    data[1024:1100] = b"\xff" * 76
    assert told(bytes(data)) == [("a", ["jpg"], None), ("", [], "truncated_tar")]


@pytest.mark.parametrize(
    "data",
    [b"", b"not a tar" * 100, gzip.compress(b"not a tar" * 100), b"\x1f\x8b broken"],
    ids=["empty", "text", "packed text", "broken gzip"],
)
def test_what_is_no_tar_is_one_problem(data: bytes) -> None:
    assert told(data) == [("", [], "not_a_tar")]


def test_an_archive_without_members_has_no_samples() -> None:
    assert told(tar()) == []


def test_a_gzip_that_grows_beyond_the_limit_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tars, "MAX_BYTES", 10_000)
    bomb = gzip.compress(b"\0" * 1_000_000)
    assert told(tar(("a.jpg.gz", bomb), ("b.jpg", b"1"))) == [
        ("a", [], "file_too_large"),
        ("b", ["jpg"], None),
    ]


def test_a_sample_of_many_members_is_bounded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_BYTES", 10_000)
    members = [(f"a.{i}.jpg", b"x" * 4000) for i in range(4)]
    (sample,) = read(tar(*members))
    assert sample.problem and sample.problem.reason == "file_too_large"
    assert sample.size <= 10_000


def test_headers_made_to_exhaust_memory_or_stack_are_refused() -> None:
    huge = special("x", tarfile.XHDTYPE)
    huge.size = 1 << 40
    assert told(tar(("a.jpg", b"1"))[:1024] + huge.tobuf()) == [
        ("a", ["jpg"], None),
        ("", [], "truncated_tar"),
    ]
    nested = special("x", tarfile.GNUTYPE_LONGNAME)
    nested.size = 512
    chain = (nested.tobuf(tarfile.GNU_FORMAT) + b"n" * 512) * 5000
    assert told(tar(("a.jpg", b"1"))[:1024] + chain)[-1] == ("", [], "truncated_tar")


def test_names_that_are_no_utf8_are_spelled_out() -> None:
    info = tarfile.TarInfo("caf\udce9.jpg")
    assert told(tar(info)) == [("caf\\udce9", ["jpg"], None)]


def test_tars_written_one_behind_the_other_are_read_to_the_end() -> None:
    both = tar(("a.jpg", b"1")) + tar(("b.jpg", b"2"))
    assert told(both) == [("a", ["jpg"], None), ("b", ["jpg"], None)]
    assert told(tar(("a.jpg", b"1")) + b"rubbish" * 200) == [
        ("a", ["jpg"], None),
        ("", [], "trailing_data"),
    ]


@pytest.mark.parametrize(
    "member",
    [
        ("._a.jpg", b"AppleDouble"),
        ("d/._a.txt", b"AppleDouble"),
        ("__MACOSX/._a.jpg", b"AppleDouble"),
        ("__MACOSX/d/a.jpg", b"AppleDouble"),
        (".DS_Store", b"1"),
        ("./.DS_Store", b"1"),
        ("__info__", b"webdataset's own"),
        ("__meta__/a.jpg", b"webdataset's own"),
        special("a", tarfile.DIRTYPE),
        special("./", tarfile.DIRTYPE),
        special("a.jpg", tarfile.DIRTYPE),
        special("volume", b"V"),
        special("d/", b"D"),
    ],
    ids=lambda member: getattr(member, "name", member[0] if isinstance(member, tuple) else ""),
)
def test_what_holds_no_sample_is_passed_over_and_ends_none(member: Member) -> None:
    around = (("a.jpg", b"1"), ("a.txt", b"t"), ("b.jpg", b"2"))
    expected = [("a", ["jpg", "txt"], None), ("b", ["jpg"], None)]
    for place in range(4):
        assert told(tar(*around[:place], member, *around[place:])) == expected


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_headers_of_long_names_and_of_the_whole_tar_end_no_sample(kind: int) -> None:
    buffer = io.BytesIO()
    key = "d" * 200 + "/" + "k" * 120
    options = {"comment": "of git archive"} if kind == tarfile.PAX_FORMAT else None
    with tarfile.open(fileobj=buffer, mode="w", format=kind, pax_headers=options) as file:
        for name in (f"{key}.jpg", f"{key}.txt"):
            file.addfile(tarfile.TarInfo(name))
    assert told(buffer.getvalue()) == [(key, ["jpg", "txt"], None)]


def test_fields_are_lower_case_and_keys_are_not() -> None:
    (sample,) = read(
        tar(("D/A.JPG", b"1"), ("D/A.Seg.PNG", b"2"), ("D/A.TXT.GZ", gzip.compress(b"t")))
    )
    assert (sample.key, sample.members) == ("D/A", {"jpg": b"1", "seg.png": b"2", "txt": b"t"})
    assert sample.spelled == {"jpg": "JPG", "seg.png": "Seg.PNG", "txt": "TXT"}


def test_a_field_that_comes_twice_in_another_spelling_begins_another_sample() -> None:
    for again in ("a.JPG", "a.jpg.gz"):
        found = read(tar(("a.jpg", b"1"), (again, gzip.compress(b"2"))))
        assert [sample.key for sample in found] == ["a", "a"]


def test_a_member_that_is_not_wanted_does_no_harm_whatever_it_is() -> None:
    data = tar(("a.jpg", b"1"), special("a.mask", tarfile.SYMTYPE, "b.mask"), ("a.txt", b"t"))
    (sample,) = read(data, {"jpg": 9, "txt": 9, "mask": 0}.__getitem__)
    assert sample.members == {"jpg": b"1", "txt": b"t"} and sample.problem is None


def test_a_member_without_a_key_ends_no_sample() -> None:
    assert sorted(told(tar(("a.jpg", b"1"), ("README", b"x"), ("a.txt", b"t")))) == [
        ("README", [], "no_key"),
        ("a", ["jpg", "txt"], None),
    ]


def test_a_problem_before_the_tar_breaks_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_BYTES", 100)
    data = tar(("a.jpg", b"1" * 600), ("b.jpg", b"2" * 60))
    assert told(data[: 3 * 512 + 100]) == [
        ("a", [], "file_too_large"),
        ("", [], "truncated_tar"),
    ]


def test_a_field_larger_than_is_wanted_is_not_unpacked() -> None:
    bomb = gzip.compress(b"{}," * 100_000)
    found = read(tar(("a.json.gz", bomb), ("b.jpg", b"1")), {"json": 1000, "jpg": 9}.__getitem__)
    assert [s.problem.reason if s.problem else None for s in found] == ["file_too_large", None]


def test_maps_of_sparse_files_are_passed_over_and_the_rest_is_unharmed() -> None:
    """`tarfile` takes half a minute for the map of this one."""
    sparse = tarfile.TarInfo("x.jpg")
    body = b"1000000\n" + b"300\n" * 2_000_000
    sparse.size = len(body)
    sparse.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "x.jpg",
        "GNU.sparse.realsize": "9",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(sparse, io.BytesIO(body))
    member = buffer.getvalue().rstrip(b"\0")
    packed = gzip.compress(member + bytes(-len(member) % 512) + tar(("z.jpg", b"2")))
    started = time.process_time()
    assert told(packed) == [("x", [], "not_a_file"), ("z", ["jpg"], None)]
    assert time.process_time() - started < 2


def test_the_old_kind_of_sparse_file_is_passed_over_too() -> None:
    header = bytearray(special("x.jpg", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[124:136], header[482] = (
        b"00000001000\0",
        1,
    )  # 512 bytes of data, and more of the map comes
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    more = bytearray(512)
    more[504] = 1
    data = bytes(header) + bytes(more) * 3 + bytes(512) + b"d" * 512 + tar(("z.jpg", b"2"))
    assert told(data) == [("x", [], "not_a_file"), ("z", ["jpg"], None)]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_packed_tar_that_is_cut_says_so_wherever_it_is_cut(mode: str) -> None:
    """`tarfile` takes it for one that ends there."""
    data = tar(("a.jpg", b"1" * 600), ("b.jpg", b"2" * 600), mode=mode)
    for cut in range(len(data)):
        found = told(data[:cut])
        assert found[-1][2] in ("not_a_tar", "truncated_tar", "trailing_data"), cut
    assert found == [("a", ["jpg"], None), ("b", ["jpg"], None), ("", [], "truncated_tar")]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_what_lies_before_the_cut_of_a_packed_tar_is_read(mode: str) -> None:
    """Contents that do not pack, so that half of the file holds half of the members."""
    names = [f"{number:02d}.jpg" for number in range(40)]
    data = tar(*((name, random.Random(name).randbytes(2000)) for name in names), mode=mode)
    # bzip2 packs blocks of 900,000 bytes, of which nothing can be read before they are whole.
    least = 0 if mode == "w:bz2" else 17
    assert least <= len(told(data[: len(data) // 2])) - 1 <= 20


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_packed_tars_written_one_behind_the_other_are_read_to_the_end(mode: str) -> None:
    both = tar(("a.jpg", b"1"), mode=mode) + tar(("b.jpg", b"2"), mode=mode)
    assert told(both) == [("a", ["jpg"], None), ("b", ["jpg"], None)]


def test_a_tar_without_an_end_mark_may_be_cut_between_two_members() -> None:
    data = tar(("a.jpg", b"1"), ("b.jpg", b"2"))
    assert told(data[:1024]) == [("a", ["jpg"], None), ("", [], "truncated_tar")]
    assert told(data[:2048]) == [
        ("a", ["jpg"], None),
        ("b", ["jpg"], None),
        ("", [], "truncated_tar"),
    ]
    assert told(data[: 2048 + 512])[-1] == ("b", ["jpg"], None)
