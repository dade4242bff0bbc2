"""What a line of a text file is: it ends at a line feed, or at the end of the file.

`str.splitlines` also parts a line at a form feed, at U+2028 and at other characters that stand in
captions and names, and everything behind is then out of step.
"""

from __future__ import annotations


def lines_of(data: bytes) -> list[str]:
    """The lines of a text in UTF-8. A carriage return before a line feed, and a byte order mark,
    both as Windows writes them, are no part of a line.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    lines = data.decode("utf-8-sig").split("\n")
    if not lines[-1]:
        # What follows the last line feed is no line if it is empty.
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
