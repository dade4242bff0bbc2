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
    canvas = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
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
        points = []
        for x, y in outline.tolist():
            points.append(((x + 0.5) * scale, (y + 0.5) * scale))
        piece = Image.new("1", canvas.size)
        ImageDraw.Draw(piece).polygon(points, fill=1)
        # The even-odd rule: an outline inside another one cuts a hole.
        inside = ImageChops.logical_xor(inside, piece)
    colour = Image.new("RGB", canvas.size, shape.colour)
    return Image.composite(Image.blend(canvas, colour, _TINT), canvas, inside)


def _draw_boxes(canvas: Image.Image, shapes: Overlay, scale: float) -> None:
    """Draw quads and boxes onto the picture."""
    pen = ImageDraw.Draw(canvas)
    for quad in shapes.quads:
        pen.polygon(_scaled(quad.quad, scale), outline=QUAD_COLOUR, width=3)
    for box in shapes.boxes:
        pen.rectangle(_scaled(box.box, scale), outline=box.colour, width=3)


def _draw_labels(canvas: Image.Image, shapes: Overlay, scale: float) -> None:
    """Draw the labels of boxes and quads onto the picture."""
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_FONT)
    size = (canvas.width / scale, canvas.height / scale)
    height = (_FONT + 7) / scale

    def width_of(text: str) -> float:
        return (pen.textlength(text, font=font) + 10) / scale

    for chip in chips(shapes, size, height, width_of):
        right = chip.x + chip.width
        bottom = chip.y + height
        box = _scaled((chip.x, chip.y, right, bottom), scale)
        pen.rectangle(box, fill=chip.colour)
        left, top, *_ = box
        # White letters cannot be read on the yellow of text regions.
        ink = _INK if chip.colour == QUAD_COLOUR else "white"
        pen.text((left + 5, top + 2), chip.text, fill=ink, font=font)


def _with_texts(canvas: Image.Image, annotations: Annotations, colours: Colours) -> Image.Image:
    """The picture with its texts set below it."""
    texts = _Texts(canvas.width)
    for text in annotations.texts:
        for piece, colour in coloured_text(text, annotations.triplets, colours):
            texts.set(piece, colour)
        texts.end()
    sheet = Image.new("RGB", (canvas.width, canvas.height + texts.height), "white")
    sheet.paste(canvas)
    pen = ImageDraw.Draw(sheet)
    for word in texts.words:
        left = word.x
        top = canvas.height + word.y
        if word.colour:
            right = left + word.width
            bottom = top + _FONT + 4
            pen.rectangle((left, top - 2, right, bottom), fill=_pale(word.colour))
        ink = word.colour or _INK
        pen.text((left, top), word.text, fill=ink, font=texts.font)
    return sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """A word of a text, in pixels from the top left corner below the picture."""

    x: float
    y: float
    width: float
    text: str
    colour: str | None


class _Texts:
    """Texts that are set word by word in lines of some width in pixels."""

    def __init__(self, width: int) -> None:
        self.words: list[_Word] = []
        self.font = ImageFont.load_default(_FONT)
        self._right = width - _PAD
        self._x = self._y = float(_PAD)

    @property
    def height(self) -> int:
        """What the texts take below the picture, in pixels."""
        if not self.words:
            return 0
        return round(self._y) + _PAD // 2

    def set(self, piece: str, colour: str | None) -> None:
        """Set a piece of a text behind the one before it."""
        # Every word keeps the space behind it.
        for text in piece.replace(" ", " \0").split("\0"):
            width = self.font.getlength(text)
            if self._x + width > self._right:
                self._break_line()
            word = _Word(x=self._x, y=self._y, width=width, text=text, colour=colour)
            self.words.append(word)
            self._x += width

    def end(self) -> None:
        """End a text; the next one stands a little lower."""
        self._break_line()
        self._y += 6

    def _break_line(self) -> None:
        self._x = float(_PAD)
        self._y += _LINE


def _pale(colour: str) -> tuple[int, ...]:
    """The colour at a fifth of its strength on white."""
    red, green, blue, *_ = ImageColor.getrgb(colour)
    pale = []
    for channel in (red, green, blue):
        missing = 255 - channel
        pale.append(round(255 - 0.2 * missing))
    return tuple(pale)


def _scaled(numbers: Sequence[float], scale: float) -> list[float]:
    return [number * scale for number in numbers]
