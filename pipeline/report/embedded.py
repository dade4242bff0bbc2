"""Images inside a page, as data URIs."""

from __future__ import annotations

import base64
import io

from PIL import Image

from stages.image_file import open_image

_MIME_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_LONGEST_SIDE = 1280  # pixels; larger pictures are embedded as smaller copies
_QUALITY = 88  # of such copies that are JPEG files
_LIGHT_SIDE = 640  # pixels; the same in a page of many pictures
_LIGHT_BYTES = 40_000  # heavier files become WebP copies in such a page
_LIGHT_QUALITY = 68  # of these copies


def data_uri(image: bytes) -> str:
    """The image as a data URI.

    The stored bytes are used as they are if browsers show their format and the picture is not too
    large. Otherwise a smaller copy is used.
    """
    with open_image(image) as picture:
        image_format = picture.format or ""
        is_small = max(picture.size) <= _LONGEST_SIDE
        if image_format in _MIME_TYPES and is_small:
            return _uri(image, image_format)
        image_format = "JPEG" if image_format in ("JPEG", "WEBP") else "PNG"
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        copy = _file(picture, image_format, _QUALITY)
    return _uri(copy, image_format)


def light_data_uri(image: bytes) -> str:
    """The same for a page of many pictures: at most 640 pixels wide or high, and small files."""
    with open_image(image) as picture:
        image_format = picture.format or ""
        is_small = max(picture.size) <= _LIGHT_SIDE
        is_light = len(image) <= _LIGHT_BYTES
        if image_format in _MIME_TYPES and is_small and is_light:
            return _uri(image, image_format)
        picture.thumbnail((_LIGHT_SIDE, _LIGHT_SIDE))
        copy = _file(picture, "WEBP", _LIGHT_QUALITY)
    return _uri(copy, "WEBP")


def _file(picture: Image.Image, image_format: str, quality: int) -> bytes:
    """The picture in RGB as a file; PNG has no quality."""
    file = io.BytesIO()
    copy = picture.convert("RGB")
    copy.save(file, image_format, quality=quality)
    return file.getvalue()


def _uri(image: bytes, image_format: str) -> str:
    mime_type = _MIME_TYPES[image_format]
    encoded = base64.b64encode(image).decode()
    return f"data:{mime_type};base64,{encoded}"
