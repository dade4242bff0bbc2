"""The words of `transform`, and the orientation in them."""

import pytest

from pipeline.storage.transforms import orientation_in, transform_of


@pytest.mark.parametrize(
    ("orientation", "converted", "words"),
    [
        (1, "", None),
        (6, "", "exif_orientation_6"),
        (1, "heif", "heif_to_png"),
        (8, "avif", "avif_to_png,exif_orientation_8"),
    ],
)
def test_the_words_say_what_was_done_and_give_the_orientation_back(
    orientation: int, converted: str, words: str | None
) -> None:
    assert transform_of(orientation, converted) == words
    assert orientation_in(words) == orientation
    blurred = f"blurred,{words}" if words else "blurred"
    assert orientation_in(blurred) == orientation
