import pytest

from stages.lines import lines_of


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\nb\n", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\n\nb\n\n", ["a", "", "b", ""]),
        ("\ufeffa\nb", ["a", "b"]),
        *[(f"a{mark}b\nc\n", [f"a{mark}b", "c"]) for mark in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"],
    ],
)
def test_a_line_ends_at_a_line_feed_alone(text: str, lines: list[str]) -> None:
    assert lines_of(text.encode()) == lines
