from typing import Any

import pytest

from stages.sources.coco_file import categories_of, entries_of, id_of, images_of, size_of


@pytest.mark.parametrize(
    ("value", "id_"),
    [
        *((1, "1"), (1.0, "1"), ("1", "1"), (" 1 ", "1"), (-3, "-3"), ("01", "01")),
        *(("a/b", "a/b"), (10**30, str(10**30)), (0, "0")),
        *((None, None), (True, None), (1.5, None), (float("nan"), None), ("", None), ([1], None)),
    ],
)
def test_numbers_and_texts_that_say_the_same_are_the_same_id(value: object, id_: object) -> None:
    assert id_of(value) == id_


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        *((64, 48, (64, 48)), (64.0, "48", (64, 48)), (" 64", 48.0, (64, 48))),
        *((0, 0, None), (None, 48, None), (64.5, 48, None), ("64px", 48, None), (-1, 5, None)),
        *((True, 48, None), (10**40, 48, None), (float("inf"), 48, None)),
    ],
)
def test_a_size_may_be_written_as_whole_numbers_floats_or_texts(
    width: object, height: object, size: object
) -> None:
    assert size_of({"width": width, "height": height}) == size


def test_one_id_for_two_images_or_categories_is_refused_with_both_names() -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": "1", "file_name": "b.png"}]
    with pytest.raises(ValueError, match=r"F: images a.png and b.png have the same id 1, "):
        images_of("F", images, need_names=True)
    categories = [{"id": 1, "name": "dog"}, {"id": 1.0, "name": "cat"}]
    with pytest.raises(ValueError, match=r"F: categories dog and cat have the same id 1, "):
        categories_of("F", categories)


def test_what_is_listed_twice_with_one_name_counts_once() -> None:
    images: list[Any] = [{"id": 1, "file_name": "a/1.png"}]
    images.append({"id": "1", "file_name": "a\\1.png", "width": 64, "height": 48})
    (image,) = images_of("F", images, need_names=True).values()
    assert (image.id, image.name, image.size) == ("1", "a/1.png", (64, 48))
    categories = [{"id": 1, "name": " dog"}, {"id": 1, "name": "dog "}]
    assert categories_of("F", categories) == {"1": "dog"}


@pytest.mark.parametrize("name", [None, "", "  ", [1], True])
def test_a_category_has_a_name(name: object) -> None:
    with pytest.raises(ValueError, match="a category without id or name"):
        categories_of("F", [{"id": 1, "name": name}])


def test_entries_without_an_image_and_repeated_ids_are_counted() -> None:
    entries = [
        *({"id": 1, "image_id": 7}, {"id": 1.0, "image_id": "7"}, {"id": 2, "image_id": 8}),
        *({"id": 3}, "nonsense", {"id": None, "image_id": 7}),
    ]
    found = entries_of(entries, {"7": "a.png"})
    assert [entry["id"] for entry in found.by_image["7"]] == [1, 1.0, None]
    assert (found.without_image, found.repeated_ids) == (3, 1)
