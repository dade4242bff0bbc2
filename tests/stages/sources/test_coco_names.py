import pytest

from stages.sources.coco_names import Classes, matched


@pytest.mark.parametrize(
    ("wanted", "there", "found"),
    [
        ("a/1.png", ["1.png", "a/1.png"], "a/1.png"),
        ("a\\1.png", ["a\\1.png", "a/1.png"], "a\\1.png"),
        ("a\\1.png", ["a/1.png", "b/1.png"], "a/1.png"),
        ("./a/1.png", ["a/1.png", "b/1.png"], "a/1.png"),
        ("a/1.png", ["./a/1.png"], "./a/1.png"),
        ("C:\\in\\1.png", ["b/1.png", "b/2.png"], "b/1.png"),
        ("/data/1.png", ["1.png"], "1.png"),
        ("a/1.png", ["a/2.png"], None),
        ("a/1.png", ["a/1.jpg"], None),
    ],
)
def test_a_file_is_found_by_its_whole_name_then_by_slashes_then_without_folders(
    wanted: str, there: list[str], found: str | None
) -> None:
    matches = matched([wanted], there)
    assert matches.found.get(wanted) == found and matches.ambiguous == {}


def test_a_name_without_folders_counts_only_if_it_is_the_only_one_on_both_sides() -> None:
    assert matched(["1.png"], ["a/1.png", "b/1.png"]).ambiguous == {"1.png": ("a/1.png", "b/1.png")}
    matches = matched(["a/1.png", "b/1.png"], ["1.png"])
    assert matches.found == {} and matches.ambiguous == {
        "a/1.png": ("a/1.png", "b/1.png"),
        "b/1.png": ("a/1.png", "b/1.png"),
    }


def test_where_one_is_found_with_its_folders_the_others_need_theirs() -> None:
    matches = matched(["a/1.png", "b/1.png"], ["a/1.png", "c/1.png"])
    assert matches.found == {"a/1.png": "a/1.png"} and matches.ambiguous == {}


def test_classes_are_found_by_name_and_without_capitals_where_one_fits() -> None:
    classes = Classes({" dog ": "1", "Cat": "2", "TV": "3", "tv": "4"})
    assert [classes.find(name) for name in ("dog", "Dog ", "cat", "TV", "tv", "Tv", "cow")] == [
        *("1", "1", "2", "3", "4"),
        None,
        None,
    ]
