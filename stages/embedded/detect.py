"""Finds the shapes of a rendered scene without weights.

In: image. Out: regions, best first.

The background is a plane of colour, fitted robustly. The pixels that differ from it are cut into
blobs of one palette colour each. A blob gets the category of the drawing that it resembles most in
five features that do not depend on place, size and rotation. So the detector makes honest mistakes:
touching shapes of one colour become one region, half hidden shapes get a wrong category, faint
shapes are missed. `score` is the likeness to the drawing, 1 for equal features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Region
from stages.base import Batch, Result, StageError
from stages.embedded.domains import DOMAINS, SIGN, SIGN_COLOUR, Colour, categories, palette
from stages.embedded.shapes import Shape

NO_LIKENESS = 0.01  # score of a blob whose features cannot be computed


@dataclass(frozen=True, slots=True, kw_only=True)
class ContoursConfig:
    """Settings of `contours`."""

    world: str = "demo"
    """Domain whose drawings and colours the detector knows: `demo` or `pretrain`."""

    contrast: float = 30.0
    """Distance in OpenCV's 8-bit Lab space above which a pixel differs from the background."""

    min_area: int = 120
    """Smallest area of a region, in pixels."""

    tolerance: float = 0.25
    """Distance between features at which the score falls to 1/e."""

    def class_names(self) -> list[str]:
        """The categories that regions can get; none if the domain is unknown."""
        return categories(DOMAINS[self.world]) if self.world in DOMAINS else []


def fit_background(lab: np.ndarray) -> np.ndarray:
    """The plane of colour that fits most pixels of an image.

    `lab` and the result are (height, width, 3) float32 in OpenCV's 8-bit Lab units. The method is
    least squares, three times, each time on the half of the pixels that fits better.
    """
    height, width = lab.shape[:2]
    y, x = np.mgrid[:height, :width]
    terms = np.stack(
        [
            np.ones(height * width),
            x.ravel() / width,
            y.ravel() / height,
        ],
        axis=1,
    )
    colours = lab.reshape(-1, 3)
    # Shapes are more colourful than any background, so the fit starts with the greyest half. In
    # 8-bit Lab, grey is 128 in both colour channels.
    error = np.linalg.norm(colours[:, 1:] - 128, axis=1)
    for _ in range(3):
        near = error <= np.median(error)
        plane = np.linalg.lstsq(terms[near], colours[near], rcond=None)[0]
        fitted = terms @ plane
        error = np.linalg.norm(colours - fitted, axis=1)
    return fitted.reshape(lab.shape)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 RGB as float32 in OpenCV's 8-bit Lab units."""
    pixels = np.ascontiguousarray(rgb, np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)


def palette_to_lab(colours: Mapping[str, Colour]) -> np.ndarray:
    """(n, 3) float32 in OpenCV's 8-bit Lab units, in the order of the colours."""
    row = np.array([list(colours.values())])
    return to_lab(row)[0]


def blob_features(mask: np.ndarray) -> np.ndarray | None:
    """Five features of the largest blob of a (height, width) uint8 mask; None if it has no area.

    They are (float64): the filled share of the convex hull, of the smallest rotated rectangle and
    of the enclosing circle; the area of the holes over the filled area; the roundness of the hull.
    """
    outlines, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outline_areas = [cv2.contourArea(outline) for outline in outlines]
    # The last number of a hierarchy entry is the index of the outline around it, -1 for an outer
    # one.
    parents = [int(entry[3]) for entry in hierarchy[0]]
    outer = [index for index, parent in enumerate(parents) if parent < 0]
    largest = max(outer, key=lambda index: outline_areas[index])
    area = outline_areas[largest]
    if area <= 0:
        return None
    hole_area = 0.0
    for index, parent in enumerate(parents):
        if parent == largest:
            hole_area += outline_areas[index]

    outline = outlines[largest]
    hull = cv2.convexHull(outline)
    hull_area = cv2.contourArea(hull)
    hull_length = cv2.arcLength(hull, True)
    _, rectangle_sides, _ = cv2.minAreaRect(outline)
    rectangle_area = np.prod(rectangle_sides)
    _, circle_radius = cv2.minEnclosingCircle(outline)
    circle_area = np.pi * circle_radius**2
    features = [
        area / hull_area,
        area / rectangle_area,
        area / circle_area,
        hole_area / area,
        4 * np.pi * hull_area / hull_length**2,
    ]
    return np.array(features)


def drawing_features(shape: Shape, radius: int = 40) -> np.ndarray:
    """The (5,) features of a drawing, rendered with a radius in pixels."""
    mask = np.zeros((4 * radius, 4 * radius), np.uint8)
    outlines = []
    for outline in shape:
        points = np.asarray(outline) * radius + 2 * radius
        outlines.append(np.round(points).astype(np.int32))
    cv2.fillPoly(mask, outlines, 1)
    features = blob_features(mask)
    assert features is not None
    return features


class Contours:
    """The detector of the demo."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(self, config: ContoursConfig) -> None:
        if config.world not in DOMAINS:
            raise StageError(f"world={config.world!r}: use one of {', '.join(DOMAINS)}")
        self.config = config
        domain = DOMAINS[config.world]
        self.colours = palette(domain)
        self.palette_lab = palette_to_lab(self.colours)
        self.prototypes = {}
        for category, shape in domain.shapes.items():
            self.prototypes[category] = drawing_features(shape)

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(regions=self.detect(sample.pixels)) for sample in batch]

    def detect(self, image: np.ndarray) -> list[Region]:
        """The regions of a (height, width, 3) uint8 RGB image, best first."""
        smooth = cv2.medianBlur(np.ascontiguousarray(image), 5)
        lab = to_lab(smooth)
        difference = np.linalg.norm(lab - fit_background(lab), axis=2)
        is_foreground = difference > self.config.contrast
        distances = np.linalg.norm(lab[:, :, None] - self.palette_lab, axis=3)
        nearest = distances.argmin(2)
        kernel = np.ones((3, 3), np.uint8)
        regions = []
        for index, colour in enumerate(self.colours):
            has_colour = is_foreground & (nearest == index)
            mask = has_colour.astype(np.uint8)
            # Removes lines and specks of one or two pixels.
            opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
            regions += self._blobs(opened, colour)
        return sorted(regions, key=lambda region: -(region.score or 0))

    def _blobs(self, mask: np.ndarray, colour: str) -> list[Region]:
        """One region for each connected blob of a (height, width) uint8 mask of one colour."""
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        regions = []
        for label, (x1, y1, width, height, area) in enumerate(stats.tolist()):
            # Label 0 is what no blob covers.
            if label == 0 or area < self.config.min_area:
                continue
            x2 = x1 + width
            y2 = y1 + height
            blob = labels[y1:y2, x1:x2] == label
            category, score = self._classify(blob.astype(np.uint8), colour)
            box = (float(x1), float(y1), float(x2), float(y2))
            region = Region(
                box=box,
                phrase=category,
                score=score,
            )
            regions.append(region)
        return regions

    def _classify(self, blob: np.ndarray, colour: str) -> tuple[str, float]:
        """The category and the score of a blob, given as (height, width) uint8.

        A blob of the signs' colour is a sign; its score is the share of the rotated rectangle that
        it fills.
        """
        # OpenCV needs a border around the blob.
        features = blob_features(np.pad(blob, 1))
        is_sign = colour == SIGN_COLOUR
        if features is None:
            first_category = next(iter(self.prototypes))
            return SIGN if is_sign else first_category, NO_LIKENESS
        if is_sign:
            rectangle_share = min(1.0, features[1])
            return SIGN, float(rectangle_share)
        distances = {}
        for category, prototype in self.prototypes.items():
            distances[category] = float(np.linalg.norm(features - prototype))
        nearest = min(distances, key=distances.__getitem__)
        likeness = np.exp(-distances[nearest] / self.config.tolerance)
        return nearest, float(likeness)
