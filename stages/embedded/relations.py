"""How two things in a photo relate, stated only where their boxes leave little doubt.

Whoever sees two boxes that overlap cannot know that a person watches a television, or that two
things stand. So a relation is stated only in the few cases below. Texts say of all others that
they are there, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.schema import Box, Region
from stages.geometry import area

MOUNTS = frozenset(("bicycle", "motorcycle", "horse", "elephant"))
BOARDS = frozenset(("skateboard", "surfboard", "snowboard"))
HELD = frozenset(("tennis racket", "baseball bat", "cell phone", "umbrella"))
CARRIED = frozenset(("backpack", "handbag"))
ON_TABLES = frozenset(
    (
        "bottle",
        "wine glass",
        "cup",
        "fork",
        "knife",
        "spoon",
        "bowl",
        "banana",
        "apple",
        "sandwich",
        "orange",
        "broccoli",
        "carrot",
        "hot dog",
        "pizza",
        "donut",
        "cake",
        "vase",
        "laptop",
        "mouse",
        "remote",
        "keyboard",
        "cell phone",
        "book",
        "scissors",
    )
)

SEATED = 0.9  # of a mount's height: the feet of a rider are above this
FEET = 0.6  # of a person's height: what they stand on begins below this
WITHIN = 0.9  # share of a box that lies in another one, for `is on`
SMALLER = 0.5  # what is on a table is at most this share of it
GAP = 0.25  # of the narrower box: so far apart may neighbours be
ALIKE = 0.6  # lower over higher height: neighbours at the same distance from the camera
LEVEL = 0.2  # of the higher box: by so much may the lower edges of neighbours differ


def photo_relation(subjects: Sequence[Region], others: Sequence[Region]) -> str:
    """The verb phrase from some things of one name to those of another; '' if none is sure.

    It agrees with the number of `subjects`. Only one thing is next to, or handles, another.
    """
    if len(others) != 1:
        return ""
    other = others[0]
    if all(_is_on(subject, other) for subject in subjects):
        return "is on" if len(subjects) == 1 else "are on"
    if len(subjects) != 1:
        return ""
    subject = subjects[0]
    if subject.phrase == "person" and other.phrase != "person":
        return _handling(subject.box, other)
    return "is next to" if _is_next_to(subject.box, other.box) else ""


def _handling(person: Box, other: Region) -> str:
    """What a person does with a thing; '' if their boxes do not show it."""
    x1, y1, x2, y2 = person
    left, top, right, bottom = other.box
    x, y = (left + right) / 2, (top + bottom) / 2
    height = y2 - y1
    if other.phrase in MOUNTS:
        is_above = y1 < top and (top + bottom) / 2 < y2 <= top + SEATED * (bottom - top)
        return "rides" if is_above and left < (x1 + x2) / 2 < right else ""
    if other.phrase in BOARDS:
        has_feet_on_it = top > y1 + FEET * height and top < y2 <= bottom
        return "rides" if has_feet_on_it and x1 < x < x2 else ""
    if not (x1 < x < x2 and y1 < y < y2):
        return ""
    if other.phrase in HELD:
        return "holds"
    if other.phrase in CARRIED:
        return "carries"
    is_at_chest = bottom < y1 + FEET * height
    return "wears" if other.phrase == "tie" and is_at_chest else ""


def _is_on(subject: Region, other: Region) -> bool:
    """Whether a thing that belongs on tables lies within a table's box."""
    if other.phrase != "dining table" or subject.phrase not in ON_TABLES:
        return False
    x1, y1, x2, y2 = subject.box
    left, top, right, bottom = other.box
    width = max(0.0, min(x2, right) - max(x1, left))
    height = max(0.0, min(y2, bottom) - max(y1, top))
    size = area(subject.box)
    return width * height >= WITHIN * size and size <= SMALLER * area(other.box)


def _is_next_to(one: Box, other: Box) -> bool:
    """Whether two boxes are neighbours of one height, side by side and on one level."""
    gap = max(one[0], other[0]) - min(one[2], other[2])
    narrower = min(one[2] - one[0], other[2] - other[0])
    heights = (one[3] - one[1], other[3] - other[1])
    is_near = 0 <= gap <= GAP * narrower
    is_alike = min(heights) >= ALIKE * max(heights)
    is_level = abs(one[3] - other[3]) <= LEVEL * max(heights)
    return is_near and is_alike and is_level
