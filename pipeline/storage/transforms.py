"""`transform` of an image's row: what was done to its pixels before they were stored.

Words with commas between them: the format that it came in (`heif_to_png`), and behind it the EXIF
orientation that was undone (`exif_orientation_6`). A release puts `blurred` before them.
"""

from __future__ import annotations

_ORIENTATION = "exif_orientation_"


def transform_of(orientation: int, converted: str) -> str | None:
    """The words for an image; None if it was stored as it came.

    Args:
        orientation: the EXIF orientation that was undone, 1 to 8.
        converted: the format that it came in, if it was stored as PNG for that; or else empty.
    """
    words = []
    if converted:
        words.append(f"{converted}_to_png")
    if orientation != 1:
        words.append(f"{_ORIENTATION}{orientation}")
    return ",".join(words) or None


def orientation_in(transform: str | None) -> int:
    """The EXIF orientation that was undone, 1 to 8."""
    last = (transform or "").rpartition(",")[2]
    if not last.startswith(_ORIENTATION):
        return 1
    return int(last.removeprefix(_ORIENTATION))
