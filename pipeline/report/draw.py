"""One picture with its annotations, drawn with Pillow: what the README shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFont

from pipeline.report.chips import chips
from pipeline.report.overlay import (
    QUAD_COLOUR,
    Colours,
    MaskShape,
    Overlay,
    coloured_text,
    overlay,
)
from pipeline.schema import Annotations

_WIDTH = 720  # pixels; smaller pictures are enlarged, so that labels can be read
_FONT = 17  # pixels
_PAD = 14  # pixels around the texts
_LINE = _FONT + 8
_INK = "#111827"
_TINT = 0.42  # opacity of masks


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a text; (x, y) is its place below the picture, in pixels."""

    x: float
    y: float
    text: str
    colour: str | None


def draw(image: Image.Image, annotations: Annotations) -> Image.Image:
    """The image with masks, boxes, labels and text regions, and its texts below it.

    Phrases have the colour of their object.
    """
    scale = max(1.0, _WIDTH / image.width)
    size = (round(image.width * scale), round(image.height * scale))
    canvas = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    colours = Colours()
    shapes = overlay(annotations, colours)
    for shape in shapes.masks:
        canvas = _with_mask(canvas, shape, scale)
    _draw_boxes(canvas, shapes, scale)
    _draw_labels(canvas, shapes, scale)
    return _with_texts(canvas, annotations.kept(), colours)


def _with_mask(canvas: Image.Image, shape: MaskShape, scale: float) -> Image.Image:
    """The picture tinted inside the mask."""
    inside = Image.new("1", canvas.size)
    for outline in shape.outlines:
        piece = Image.new("1", canvas.size)
        points = [((x + 0.5) * scale, (y + 0.5) * scale) for x, y in outline.tolist()]
        ImageDraw.Draw(piece).polygon(points, fill=1)
        # The even-odd rule: an outline inside another one cuts a hole.
        inside = ImageChops.logical_xor(inside, piece)
    colour = Image.new("RGB", canvas.size, shape.colour)
    return Image.composite(Image.blend(canvas, colour, _TINT), canvas, inside)


def _draw_boxes(canvas: Image.Image, shapes: Overlay, scale: float) -> None:
    pen = ImageDraw.Draw(canvas)
    for quad in shapes.quads:
        pen.polygon(_scaled(quad.quad, scale), outline=QUAD_COLOUR, width=3)
    for box in shapes.boxes:
        pen.rectangle(_scaled(box.box, scale), outline=box.colour, width=3)


def _draw_labels(canvas: Image.Image, shapes: Overlay, scale: float) -> None:
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_FONT)
    size = (canvas.width / scale, canvas.height / scale)
    height = (_FONT + 7) / scale

    def width_of(text: str) -> float:
        return (pen.textlength(text, font=font) + 10) / scale

    for chip in chips(shapes, size, height, width_of):
        box = (chip.x, chip.y, chip.x + chip.width, chip.y + height)
        x0, y0, x1, y1 = _scaled(box, scale)
        pen.rectangle((x0, y0, x1, y1), fill=chip.colour)
        ink = _INK if chip.colour == QUAD_COLOUR else "white"
        pen.text((x0 + 5, y0 + 2), chip.text, fill=ink, font=font)


def _with_texts(canvas: Image.Image, annotations: Annotations, colours: Colours) -> Image.Image:
    """The picture with its texts set below it."""
    words, height = _set_texts(canvas, annotations, colours)
    sheet = Image.new("RGB", (canvas.width, canvas.height + height), "white")
    sheet.paste(canvas)
    font = ImageFont.load_default(_FONT)
    pen = ImageDraw.Draw(sheet)
    for word in words:
        top = canvas.height + word.y
        if word.colour:
            right = word.x + pen.textlength(word.text, font=font)
            pen.rectangle((word.x, top - 2, right, top + _FONT + 4), fill=_pale(word.colour))
        pen.text((word.x, top), word.text, fill=word.colour or _INK, font=font)
    return sheet


def _set_texts(
    canvas: Image.Image, annotations: Annotations, colours: Colours
) -> tuple[list[_Word], int]:
    """Set the texts word by word, in lines as wide as the picture; also the height they take."""
    font = ImageFont.load_default(_FONT)
    pen = ImageDraw.Draw(canvas)
    words = []
    x = y = float(_PAD)
    for text in annotations.texts:
        for piece, colour in coloured_text(text, annotations.triplets, colours):
            # Every word keeps the space behind it.
            for word in piece.replace(" ", " \0").split("\0"):
                width = pen.textlength(word, font=font)
                if x + width > canvas.width - _PAD:
                    x = float(_PAD)
                    y += _LINE
                words.append(_Word(x, y, word, colour))
                x += width
        x = float(_PAD)
        y += _LINE + 6
    return words, round(y) + _PAD // 2 if words else 0


def _pale(colour: str) -> tuple[int, ...]:
    """The colour at a fifth of its strength on white."""
    channels = ImageColor.getrgb(colour)[:3]
    return tuple(round(255 - 0.2 * (255 - channel)) for channel in channels)


def _scaled(numbers: Sequence[float], scale: float) -> list[float]:
    return [number * scale for number in numbers]
