"""One picture with its annotations, drawn with Pillow: what the README shows."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFont

from pipeline.report.overlay import QUAD_COLOUR, Colours, Overlay, chips, coloured_text, overlay
from pipeline.schema import Annotations

_WIDTH = 720  # smaller pictures are enlarged, so that labels can be read
_FONT = 17
_PAD = 14
_INK = "#111827"


def draw(image: Image.Image, annotations: Annotations) -> Image.Image:
    """The image with masks, boxes, labels and text regions, and below it its texts with coloured phrases."""
    scale = max(1.0, _WIDTH / image.width)
    size = (round(image.width * scale), round(image.height * scale))
    canvas = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    colours = Colours()
    shapes = overlay(annotations, colours)
    canvas = _with_masks(canvas, shapes, scale)
    _draw_boxes(canvas, shapes, scale)
    return _with_texts(canvas, annotations.kept(), colours)


def _with_masks(canvas: Image.Image, shapes: Overlay, scale: float) -> Image.Image:
    for shape in shapes.masks:
        alpha = Image.new("1", canvas.size)
        for outline in shape.outlines:  # even-odd: an outline inside another one cuts a hole
            piece = Image.new("1", canvas.size)
            points = [((x + 0.5) * scale, (y + 0.5) * scale) for x, y in outline.tolist()]
            ImageDraw.Draw(piece).polygon(points, fill=1)
            alpha = ImageChops.logical_xor(alpha, piece)
        tint = Image.blend(canvas, Image.new("RGB", canvas.size, shape.colour), 0.42)
        canvas = Image.composite(tint, canvas, alpha)
    return canvas


def _draw_boxes(canvas: Image.Image, shapes: Overlay, scale: float) -> None:
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(_FONT)
    for shape in shapes.quads:
        pen.polygon(_scaled(shape.quad, scale), outline=QUAD_COLOUR, width=3)
    for box in shapes.boxes:
        pen.rectangle(_scaled(box.box, scale), outline=box.colour, width=3)
    height = (_FONT + 7) / scale
    for chip in chips(
        shapes,
        (canvas.width / scale, canvas.height / scale),
        height,
        lambda text: (pen.textlength(text, font=font) + 10) / scale,
    ):
        x, y, right, bottom = _scaled((chip.x, chip.y, chip.x + chip.width, chip.y + height), scale)
        pen.rectangle((x, y, right, bottom), fill=chip.colour)
        pen.text(
            (x + 5, y + 2),
            chip.text,
            fill=_INK if chip.colour == QUAD_COLOUR else "white",
            font=font,
        )


def _with_texts(canvas: Image.Image, annotations: Annotations, colours: Colours) -> Image.Image:
    """The texts set below the picture, word by word, lines broken at its width."""
    font = ImageFont.load_default(_FONT)
    pen = ImageDraw.Draw(canvas)
    x, y, line = float(_PAD), float(_PAD), _FONT + 8
    words: list[tuple[float, float, str, str | None]] = []
    for text in annotations.texts:
        for piece, colour in coloured_text(text, annotations.triplets, colours):
            for word in piece.replace(" ", " \0").split("\0"):
                width = pen.textlength(word, font=font)
                if x + width > canvas.width - _PAD:
                    x, y = float(_PAD), y + line
                words.append((x, y, word, colour))
                x += width
        x, y = float(_PAD), y + line + 6
    sheet = Image.new(
        "RGB", (canvas.width, canvas.height + (round(y) + _PAD // 2 if words else 0)), "white"
    )
    sheet.paste(canvas)
    pen = ImageDraw.Draw(sheet)
    for x, y, word, colour in words:
        top = canvas.height + y
        if colour:
            pale = tuple(round(255 - 0.2 * (255 - c)) for c in ImageColor.getrgb(colour)[:3])
            pen.rectangle(
                (x, top - 2, x + pen.textlength(word, font=font), top + _FONT + 4), fill=pale
            )
        pen.text((x, top), word, fill=colour or _INK, font=font)
    return sheet


def _scaled(numbers: Sequence[float], scale: float) -> list[float]:
    return [number * scale for number in numbers]
