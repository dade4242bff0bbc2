"""One picture with its annotations, drawn with Pillow: what the README shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFont

from pipeline.report.chips import chips
from pipeline.report.overlay import (
    Colours,
    MaskShape,
    Overlay,
    coloured_text,
    overlay,
)
from pipeline.report.palette import DARK, QUAD_COLOUR, ink_on
from pipeline.schema import Annotations

_WIDTH = 720
"""Smaller pictures are enlarged to this width in pixels, so that labels can be read."""
_FONT = 17
"""Size of the letters in pixels."""
_LINE = _FONT + 8
"""From one line of text to the next, in pixels."""
_PAD = 14
"""Space around the texts, in pixels."""
_PARAGRAPH = 6
"""Further space between two texts, in pixels."""
_STROKE = 3
"""Width of the lines of boxes and quads, in pixels."""
_TINT = 0.42
"""Opacity of masks."""
_PALE = 0.2
"""Opacity of the colour behind a phrase."""


def draw(image: Image.Image, annotations: Annotations) -> Image.Image:
    """The image with masks, boxes, labels and text regions, and its texts below it.

    Phrases have the colour of their object.

    Args:
        image: the stored image.
        annotations: in pixels of the stored image; the kept ones are drawn.

    Returns:
        An RGB picture, at least as wide as `_WIDTH`.
    """
    scale = max(1.0, _WIDTH / image.width)
    width = round(image.width * scale)
    height = round(image.height * scale)
    canvas = image.convert("RGB")
    canvas = canvas.resize((width, height), Image.Resampling.LANCZOS)
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
        # Outlines go through the middles of pixels.
        points = (outline + 0.5) * scale
        corners = [tuple(point) for point in points.tolist()]
        piece = Image.new("1", canvas.size)
        pen = ImageDraw.Draw(piece)
        pen.polygon(corners, fill=1)
        # The even-odd rule: an outline inside another one cuts a hole.
        inside = ImageChops.logical_xor(inside, piece)
    colour = Image.new("RGB", canvas.size, shape.colour)
    tinted = Image.blend(canvas, colour, _TINT)
    return Image.composite(tinted, canvas, inside)


def _draw_boxes(canvas: Image.Image, shapes: Overlay, scale: float) -> None:
    """Draw the outlines of text regions and of boxes, the latter on top."""
    pen = ImageDraw.Draw(canvas)
    for quad in shapes.quads:
        corners = _scaled(quad.quad, scale)
        pen.polygon(corners, outline=QUAD_COLOUR, width=_STROKE)
    for box in shapes.boxes:
        corners = _scaled(box.box, scale)
        pen.rectangle(corners, outline=box.colour, width=_STROKE)


def _draw_labels(canvas: Image.Image, shapes: Overlay, scale: float) -> None:
    """Draw the labels of boxes and text regions.

    `chips` works in pixels of the image, so sizes on the enlarged canvas are divided by the scale.
    """
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_FONT)
    image_size = (canvas.width / scale, canvas.height / scale)
    height = (_FONT + 7) / scale

    def width_of(text: str) -> float:
        """The width of a label: its letters and five pixels on either side."""
        letters = pen.textlength(text, font=font)
        return (letters + 10) / scale

    for chip in chips(shapes, image_size, height, width_of):
        box = (
            chip.x,
            chip.y,
            chip.x + chip.width,
            chip.y + height,
        )
        corners = _scaled(box, scale)
        pen.rectangle(corners, fill=chip.colour)
        left, top, _, _ = corners
        pen.text(
            (left + 5, top + 2),
            chip.text,
            fill=ink_on(chip.colour),
            font=font,
        )


def _with_texts(canvas: Image.Image, annotations: Annotations, colours: Colours) -> Image.Image:
    """The picture with its texts set below it."""
    texts = _Texts(canvas.width)
    for text in annotations.texts:
        for piece, colour in coloured_text(text, annotations.triplets, colours):
            texts.set(piece, colour)
        texts.end()
    sheet_size = (canvas.width, canvas.height + texts.height)
    sheet = Image.new("RGB", sheet_size, "white")
    sheet.paste(canvas)
    pen = ImageDraw.Draw(sheet)
    for word in texts.words:
        _draw_word(pen, word, canvas.height, texts.font)
    return sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """A word of a text, in pixels from the top left corner below the picture."""

    x: float
    y: float
    width: float
    text: str
    colour: str | None


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _draw_word(pen: ImageDraw.ImageDraw, word: _Word, offset: int, font: _Font) -> None:
    """Draw a word that stands `offset` pixels lower; a phrase has its colour, pale, behind it."""
    top = offset + word.y
    if word.colour:
        box = (
            word.x,
            top - 2,
            word.x + word.width,
            top + _FONT + 4,
        )
        pen.rectangle(box, fill=_pale(word.colour))
        # The ink stays dark, because some colours are too bright for letters on white.
        underline = (
            word.x,
            top + _FONT + 3,
            word.x + word.width,
            top + _FONT + 4,
        )
        pen.rectangle(underline, fill=word.colour)
    pen.text(
        (word.x, top),
        word.text,
        fill=DARK,
        font=font,
    )


class _Texts:
    """Texts that are set word by word in lines of some width in pixels."""

    def __init__(self, width: int) -> None:
        self.words: list[_Word] = []
        self.font = ImageFont.load_default(_FONT)
        self._right = width - _PAD
        self._x = float(_PAD)
        self._y = float(_PAD)

    @property
    def height(self) -> int:
        """What the texts take below the picture, in pixels."""
        if not self.words:
            return 0
        return round(self._y) + _PAD // 2

    def set(self, piece: str, colour: str | None) -> None:
        """Set a piece of a text behind the one before it."""
        for text in _words(piece):
            width = self.font.getlength(text)
            if self._x + width > self._right:
                self._break_line()
            word = _Word(
                x=self._x,
                y=self._y,
                width=width,
                text=text,
                colour=colour,
            )
            self.words.append(word)
            self._x += width

    def end(self) -> None:
        """End a text; the next one stands a little lower."""
        self._break_line()
        self._y += _PARAGRAPH

    def _break_line(self) -> None:
        self._x = float(_PAD)
        self._y += _LINE


def _words(piece: str) -> Iterator[str]:
    """The words of a text. Each keeps the space behind it, so that they join without gaps."""
    *whole, last = piece.split(" ")
    for word in whole:
        yield f"{word} "
    yield last


def _pale(colour: str) -> tuple[int, ...]:
    """The colour on white, at little strength."""
    channels = ImageColor.getrgb(colour)[:3]
    pale = []
    for channel in channels:
        distance_from_white = 255 - channel
        pale.append(round(255 - _PALE * distance_from_white))
    return tuple(pale)


def _scaled(numbers: Sequence[float], scale: float) -> list[float]:
    return [number * scale for number in numbers]
