"""Files of truth and of captions, in the form that `fld evaluate` reads."""

from __future__ import annotations

from typing import Any


def captions(*rows: tuple[int, str]) -> list[dict[str, Any]]:
    return [{"image_id": image, "caption": text} for image, text in rows]


def truth(*annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    images = [{"id": image} for image in dict.fromkeys(a["image_id"] for a in annotations)]
    return {
        "images": images,
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations)],
        **more,
    }
