"""Finds the shapes of a rendered scene without weights. In: image. Out: regions, best first.

The background is a plane of colour, fitted robustly; what stands out from it is cut into blobs of one palette
colour each, and a blob takes the category of the drawing that it resembles most in a few features that do not
depend on place, size and rotation. So its mistakes are honest: touching shapes of one colour come out as one,
half hidden ones are taken for others, faint ones are missed. `score` is the likeness to that drawing, 1 for
equal features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Box, Region
from stages.base import Batch, Result
from stages.embedded.shapes import Shape
from stages.embedded.worlds import DEMO, PRETRAIN, SIGN, SIGN_COLOUR, palette

WORLDS = {world.name: world for world in (DEMO, PRETRAIN)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContoursConfig:
    world: str = "demo"  # whose drawings and colours to know
    contrast: float = 30.0  # Lab distance from the background at which a pixel stands out
    min_area: int = 120  # pixels
    tolerance: float = 0.25  # feature distance at which the likeness is 1/e


def background(lab: np.ndarray) -> np.ndarray:
    """The plane of colour that fits most pixels: least squares, three times, each on the better half."""
    height, width = lab.shape[:2]
    y, x = np.mgrid[:height, :width]
    terms = np.stack([np.ones(height * width), x.ravel() / width, y.ravel() / height], 1)
    colours = lab.reshape(-1, 3)
    # The shapes are more colourful than any background, so the greyest half is where to start.
    error = np.linalg.norm(colours[:, 1:] - 128, axis=1)
    for _ in range(3):
        near = error <= np.median(error)
        plane = np.linalg.lstsq(terms[near], colours[near], rcond=None)[0]
        error = np.linalg.norm(colours - terms @ plane, axis=1)
    return (terms @ plane).reshape(lab.shape)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(rgb, np.uint8), cv2.COLOR_RGB2LAB).astype(np.float32)


def features(mask: np.ndarray) -> np.ndarray | None:
    """Share of hull, of turned rectangle and of enclosing circle that is filled, share of holes, roundness.

    None for a blob without an area.
    """
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = max(
        (i for i, node in enumerate(tree[0]) if node[3] < 0),
        key=lambda i: cv2.contourArea(outlines[i]),
    )
    outline, area = outlines[outer], cv2.contourArea(outlines[outer])
    if area <= 0:
        return None
    holes = sum(
        cv2.contourArea(o) for o, node in zip(outlines, tree[0], strict=True) if node[3] == outer
    )
    rectangle = np.prod(cv2.minAreaRect(outline)[1])
    circle = np.pi * cv2.minEnclosingCircle(outline)[1] ** 2
    hull = cv2.convexHull(outline)
    roundness = 4 * np.pi * cv2.contourArea(hull) / cv2.arcLength(hull, True) ** 2
    return np.array(
        [area / cv2.contourArea(hull), area / rectangle, area / circle, holes / area, roundness]
    )


def drawing_features(shape: Shape, radius: int = 40) -> np.ndarray:
    mask = np.zeros((4 * radius, 4 * radius), np.uint8)
    cv2.fillPoly(
        mask, [np.round(np.asarray(o) * radius + 2 * radius).astype(np.int32) for o in shape], 1
    )
    found = features(mask)
    assert found is not None
    return found


class Contours:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: ContoursConfig) -> None:
        if config.world not in WORLDS:
            raise ValueError(f"world={config.world!r}: use one of {', '.join(WORLDS)}")
        self.config, self.world = config, WORLDS[config.world]
        self.colours = palette(self.world)
        self.prototypes = {
            name: drawing_features(shape) for name, shape in self.world.shapes.items()
        }

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(regions=self.detect(sample.pixels)) for sample in batch]

    def detect(self, image: np.ndarray) -> list[Region]:
        lab = to_lab(cv2.medianBlur(np.ascontiguousarray(image), 5))
        stands_out = np.linalg.norm(lab - background(lab), axis=2) > self.config.contrast
        names = list(self.colours)
        shades = to_lab(np.array([list(self.colours.values())]))[0]
        nearest = np.linalg.norm(lab[:, :, None] - shades, axis=3).argmin(2)
        regions = []
        for colour, name in enumerate(names):
            plane = (stands_out & (nearest == colour)).astype(np.uint8)
            regions += self.blobs(
                cv2.morphologyEx(plane, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), name
            )
        return sorted(regions, key=lambda r: -(r.score or 0))

    def blobs(self, plane: np.ndarray, colour: str) -> list[Region]:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=4)
        regions = []
        for label, (x, y, width, height, area) in enumerate(stats.tolist()):
            if label == 0 or area < self.config.min_area:
                continue
            category, score = self.name(
                (labels[y : y + height, x : x + width] == label).astype(np.uint8), colour
            )
            box: Box = (float(x), float(y), float(x + width), float(y + height))
            regions.append(Region(box=box, phrase=category, score=score))
        return regions

    def name(self, mask: np.ndarray, colour: str) -> tuple[str, float]:
        """The category of a blob and the likeness to it. What has the colour of signs is a sign, as far as
        it fills its box."""
        found = features(np.pad(mask, 1))
        if found is None:
            return SIGN if colour == SIGN_COLOUR else next(iter(self.prototypes)), 0.01
        if colour == SIGN_COLOUR:
            return SIGN, float(min(1.0, found[1]))
        distance = {name: float(np.linalg.norm(found - p)) for name, p in self.prototypes.items()}
        category = min(distance, key=distance.__getitem__)
        return category, float(np.exp(-distance[category] / self.config.tolerance))
