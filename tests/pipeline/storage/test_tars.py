import io
import tarfile
from pathlib import Path

import pytest
import webdataset

from pipeline.storage.tars import TarWriter, read_tar

SAMPLES = [
    ("a", {"jpg": b"\xff\xd8 first", "json": b"{}"}),
    ("b_1-2", {"png": b"", "json": b'{"x": 1}'}),
]


def _tar() -> tuple[bytes, list[list[tuple[int, int]]]]:
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    places = [[(m.offset, m.size) for m in writer.write(key, members)] for key, members in SAMPLES]
    writer.close()
    return buffer.getvalue(), places


def test_what_is_written_is_read_back() -> None:
    assert list(read_tar(io.BytesIO(_tar()[0]))) == SAMPLES


@pytest.mark.parametrize("samples", [1, 2])
def test_a_tar_that_is_cut_between_two_samples_is_not_taken_for_a_whole_one(samples: int) -> None:
    data, places = _tar()
    offset, size = places[samples - 1][-1]
    # The content is filled up with zeros to whole blocks.
    end = offset + size + -size % tarfile.BLOCKSIZE
    found = []
    with pytest.raises(tarfile.ReadError, match="its end is cut off"):
        for sample in read_tar(io.BytesIO(data[:end])):
            found.append(sample)
    assert found == SAMPLES[:samples]


def test_offsets_lead_to_the_bytes_of_members() -> None:
    data, places = _tar()
    for (_, members), where in zip(SAMPLES, places, strict=True):
        for expected, (offset, size) in zip(members.values(), where, strict=True):
            assert data[offset : offset + size] == expected


def test_equal_samples_give_equal_bytes_and_nothing_of_the_machine() -> None:
    assert _tar()[0] == _tar()[0]
    with tarfile.open(fileobj=io.BytesIO(_tar()[0])) as tar:
        for info in tar:
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")


def test_webdataset_reads_the_same_samples(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(_tar()[0])
    samples = list(webdataset.WebDataset(str(tmp_path / "shard.tar"), shardshuffle=False))
    assert [s["__key__"] for s in samples] == ["a", "b_1-2"]
    assert samples[0]["jpg"] == b"\xff\xd8 first"
    assert samples[1]["json"] == b'{"x": 1}'


def test_a_tar_has_the_bytes_that_the_standard_library_writes() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in SAMPLES:
            for extension, data in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size, info.mode = len(data), 0o444
                tar.addfile(info, io.BytesIO(data))
    assert _tar()[0] == buffer.getvalue()
