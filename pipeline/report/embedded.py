"""Images inside a page, as data URIs."""

from __future__ import annotations

import base64
import io

from PIL import Image

from stages.image_file import open_image

_MIME_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_LONGEST_SIDE = 1280  # pixels; larger pictures are embedded as smaller copies
_LIGHT_SIDE = 800  # pixels; the same in a page of many pictures
_LIGHT_BYTES = 48_000  # heavier files become WebP copies in such a page


def data_uri(image: bytes) -> str:
    """The image as a data URI.

    The stored bytes are used as they are if browsers show their format and the picture is not too
    large. Otherwise a smaller copy is used.
    """
    with open_image(image) as picture:
        image_format = picture.format or ""
        if image_format in _MIME_TYPES and max(picture.size) <= _LONGEST_SIDE:
            return _uri(image, image_format)
        image_format = "JPEG" if image_format in ("JPEG", "WEBP") else "PNG"
        return _uri(_copy(picture, _LONGEST_SIDE, image_format, 88), image_format)


def light_data_uri(image: bytes) -> str:
    """The same for a page of many pictures: at most 800 pixels wide or high, and small files."""
    with open_image(image) as picture:
        image_format = picture.format or ""
        is_light = max(picture.size) <= _LIGHT_SIDE and len(image) <= _LIGHT_BYTES
        if image_format in _MIME_TYPES and is_light:
            return _uri(image, image_format)
        return _uri(_copy(picture, _LIGHT_SIDE, "WEBP", 78), "WEBP")


def _copy(picture: Image.Image, longest_side: int, image_format: str, quality: int) -> bytes:
    """The file of an RGB copy that is no larger than `longest_side` pixels either way."""
    picture.thumbnail((longest_side, longest_side))
    file = io.BytesIO()
    picture.convert("RGB").save(file, image_format, quality=quality)
    return file.getvalue()


def _uri(image: bytes, image_format: str) -> str:
    encoded = base64.b64encode(image).decode()
    return f"data:{_MIME_TYPES[image_format]};base64,{encoded}"
