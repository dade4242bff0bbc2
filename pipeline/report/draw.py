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
    texts = _Texts(canvas.width)
    for text in annotations.texts:
        for piece, colour in coloured_text(text, annotations.triplets, colours):
            texts.set(piece, colour)
        texts.end()
    sheet = Image.new("RGB", (canvas.width, canvas.height + texts.height), "white")
    sheet.paste(canvas)
    pen = ImageDraw.Draw(sheet)
    for word in texts.words:
        top = canvas.height + word.y
        if word.colour:
            box = (word.x, top - 2, word.x + word.width, top + _FONT + 4)
            pen.rectangle(box, fill=_pale(word.colour))
        pen.text((word.x, top), word.text, fill=word.colour or _INK, font=texts.font)
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
    channels = ImageColor.getrgb(colour)[:3]
    return tuple(round(255 - 0.2 * (255 - channel)) for channel in channels)


def _scaled(numbers: Sequence[float], scale: float) -> list[float]:
    return [number * scale for number in numbers]
