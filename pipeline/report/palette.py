"""The colours of objects, chosen so that colour-blind people can tell them apart."""

from __future__ import annotations

# Okabe and Ito, "Color Universal Design" (2008), without black, which dark pictures hide.
PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#56b4e9",
    "#cc79a7",
)
QUAD_COLOUR = "#f0e442"
"""Of text regions: the yellow of the same palette."""
DARK = "#111827"
LIGHT = "#ffffff"
_FLARE = 0.05  # WCAG 2.1 adds it to both luminances of a contrast


def ink_on(colour: str) -> str:
    """The dark or light ink that has the higher contrast on a colour, both as #rrggbb."""
    if contrast(colour, DARK) > contrast(colour, LIGHT):
        return DARK
    return LIGHT


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.1, "contrast ratio")."""
    luminances = (_luminance(one), _luminance(other))
    darker = min(luminances)
    lighter = max(luminances)
    return (lighter + _FLARE) / (darker + _FLARE)


def linear(colour: str) -> tuple[float, float, float]:
    """Linear red, green and blue from 0 to 1 of an sRGB colour (IEC 61966-2-1)."""
    red = _linear(colour[1:3])
    green = _linear(colour[3:5])
    blue = _linear(colour[5:7])
    return red, green, blue


def _linear(channel: str) -> float:
    value = int(channel, 16) / 255
    if value <= 0.04045:
        return value / 12.92
    return float(((value + 0.055) / 1.055) ** 2.4)


def _luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
