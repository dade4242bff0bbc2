"""Everything bad that a folder of images or a tar can hold, with the reason that each must get.

Ten good images stand beside it.

python -m tests.system.zoo DIR       writes DIR/folder and DIR/tars
"""

from __future__ import annotations

import gzip
import os
import struct
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.stages.sources.forms import encoded, picture
from tests.stages.sources.test_tars import Member, special, tar

GOOD = {f"good_{i}.jpg": picture(i, (64, 48)) for i in range(10)}
Rows = list[tuple[str, str | None]]  # name, reason; None for what must come through
PHOTO = Image.fromarray(np.random.default_rng(99).integers(0, 255, (48, 64, 3), np.uint8))
JPEG, PNG = encoded(PHOTO, "JPEG"), encoded(PHOTO, "PNG")


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def png_of(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose header promises any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def odd_but_good() -> dict[str, bytes]:
    """What must come through: odd names, odd pixels."""
    return {
        "dots.in.the.name.jpg": JPEG,
        "spaces in name.jpg": JPEG,
        "comma, name.jpg": JPEG,
        "\u65e5\u672c \u00e9.jpg": JPEG,
        "deep/er/and/deeper.jpg": JPEG,
        "UPPER.JPG": JPEG,
        "new\nline.jpg": JPEG,
        "x" * 200 + ".jpg": JPEG,
        "same_name.png": PNG,
        "same_name.jpg": JPEG,
        "lying_suffix.png": JPEG,
        "cmyk.jpg": encoded(PHOTO.convert("CMYK"), "JPEG"),
        "grey16.png": encoded(Image.fromarray(np.full((48, 64), 40_000, np.uint16))),
        "palette.png": encoded(PHOTO.convert("P"), "PNG", transparency=3),
        "animated.gif": encoded(PHOTO, "GIF", save_all=True, append_images=[PHOTO.rotate(90)]),
        "wide.png": encoded(Image.new("L", (20_000, 20)), "PNG"),
        **{f"exif_{i}.jpg": encoded(PHOTO, "JPEG", exif=exif(i)) for i in range(2, 9)},
    }


def hostile() -> dict[str, tuple[bytes, str]]:
    """File name -> its content and the reason it must get."""
    cut = {
        f"cut_{percent}.jpg": (JPEG[: len(JPEG) * percent // 100], "truncated")
        for percent in (40, 60, 80, 95)
    }
    return cut | {
        "cut.png": (PNG[: len(PNG) // 2], "truncated"),
        "cut.webp": (encoded(PHOTO, "WEBP")[:300], "corrupt"),
        "cut_header.jpg": (JPEG[:20], "not_an_image"),
        "zero.jpg": (b"", "empty_file"),
        "one.jpg": (b"x", "not_an_image"),
        "text.jpg": (b"not an image at all", "not_an_image"),
        "page.jpg": (b"<html>404</html>", "not_an_image"),
        "zeros.jpg": (bytes(5000), "not_an_image"),
        "noise.png": (np.random.default_rng(1).bytes(5000), "not_an_image"),
        "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n", "not_an_image"),
        "pixel.png": (encoded(Image.new("RGB", (1, 1))), "too_small"),
        "line.png": (encoded(Image.new("RGB", (1, 5000))), "too_small"),
        "bomb.png": (encoded(Image.new("1", (20_000, 20_000))), "too_large"),
        "bomb.gif": (
            b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;",
            "too_large",
        ),
        "promise.png": (png_of(2**31 - 1, 2**31 - 1, b""), "too_large"),
        "short_data.png": (png_of(64, 48, b"\0" * 100), "truncated"),
        "broken_crc.png": (PNG[:40] + b"\xff" * 8 + PNG[48:], "not_an_image"),
        "float.tif": (encoded(Image.new("F", (40, 40)), "TIFF"), "unsupported_mode"),
    }


def unreadable(folder: Path) -> dict[str, str]:
    """Things with an image's name that are no files."""
    os.mkfifo(folder / "pipe.jpg")
    (folder / "dangling.jpg").symlink_to(folder / "nowhere")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return {"pipe.jpg": "not_a_file", "dangling.jpg": "unreadable", "loop.jpg": "unreadable"}


def write_folder_zoo(folder: Path) -> Rows:
    """Fill `folder`; the rows that must come of it."""
    expected: dict[str, str | None] = {}
    for name, data in {**GOOD, **odd_but_good()}.items():
        expected[name] = None
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for name, (data, reason) in hostile().items():
        expected[name] = reason
        (folder / name).write_bytes(data)
    stray = os.fsdecode(b"caf\xe9.jpg")
    (folder / stray).write_bytes(JPEG)
    return [*(expected | {"caf\\udce9.jpg": None} | unreadable(folder)).items()]


def write_tar_zoo(folder: Path) -> Rows:
    """Fill `folder`; the rows that must come of it."""
    folder.mkdir(parents=True)
    good = [(name, data) for name, data in GOOD.items()]
    members: list[tuple[Member, str, str]] = [
        (("/fld_zoo_absolute.jpg", JPEG), "/fld_zoo_absolute", "unsafe_name"),
        (("../../fld_zoo_parent.jpg", JPEG), "../../fld_zoo_parent", "unsafe_name"),
        (special("s.jpg", tarfile.SYMTYPE, "/etc/passwd"), "s", "not_a_file"),
        (special("h.jpg", tarfile.LNKTYPE, "good_0.jpg"), "h", "not_a_file"),
        (special("d.jpg", tarfile.CHRTYPE), "d", "not_a_file"),
        (special("f.jpg", tarfile.FIFOTYPE), "f", "not_a_file"),
        (("t.txt", b"only text"), "t", "no_image"),
        (("g.jpg.gz", b"no gzip"), "g", "corrupt_gzip"),
        (("b.jpg.gz", gzip.compress(bytes(300 << 20), 1)), "b", "file_too_large"),
        (good[0], "good_0.jpg", "duplicate_key"),
    ]
    # These hold no sample, and are no row.
    passed_over = (special("dir", tarfile.DIRTYPE), (".hidden", b"x"), ("._good_9.jpg", b"x"))
    (folder / "members.tar").write_bytes(
        tar(good[0], *(member for member, _, _ in members), *passed_over, good[9])
    )
    expected: Rows = [("members.tar/good_0.jpg", None), ("members.tar/good_9.jpg", None)]
    expected += [(f"members.tar/{row}", reason) for _, row, reason in members]
    for name, (data, rows) in _broken(good).items():
        (folder / name).write_bytes(data)
        expected += [(f"{name}{row}", reason) for row, reason in rows.items()]
    return expected


def _broken(good: list[tuple[str, bytes]]) -> dict[str, tuple[bytes, dict[str, str | None]]]:
    """Tar name -> content, and the rows behind the name with their reasons."""
    whole = tar(*good)
    two = [("two.jpg", JPEG), ("two.png", PNG), ("json.jpg", JPEG), ("json.json", b"{broken")]
    both = tar(*two, ("z.JPEG.gz", gzip.compress(JPEG)))
    pax = special("x", tarfile.XHDTYPE)
    pax.size = 1 << 40
    return {
        "cut.tar": (
            whole[: 512 * 3 + len(good[0][1]) + 700],
            {"/good_0.jpg": None, "": "truncated_tar"},
        ),
        "cut.tgz": (gzip.compress(whole, 0)[:1000], {"": "truncated_tar"}),
        "behind.tar": (
            tar(*good[:1]) + tar(*good[1:2]),
            {"/good_0.jpg": None, "/good_1.jpg": None},
        ),
        "trailing.tar": (
            tar(*good[:1]) + b"rubbish" * 200,
            {"/good_0.jpg": None, "": "trailing_data"},
        ),
        "empty.tar": (b"", {"": "not_a_tar"}),
        "text.tar": (b"no tar" * 500, {"": "not_a_tar"}),
        "bomb_header.tar": (pax.tobuf() + bytes(512), {"": "not_a_tar"}),
        "two.tar": (both, {"/two": "several_images", "/json.jpg": None, "/z.JPEG": None}),
        "packed.tar.gz": (gzip.compress(whole), {f"/{name}": None for name in GOOD}),
    }


if __name__ == "__main__":
    write_folder_zoo(Path(sys.argv[1]) / "folder")
    write_tar_zoo(Path(sys.argv[1]) / "tars")
