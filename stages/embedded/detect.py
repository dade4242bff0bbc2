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
from stages.ranges import Count, NotNegative

# Score of a blob whose features cannot be computed.
NO_LIKENESS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ContoursConfig:
    """Settings of `contours`."""

    world: str = "demo"
    """Domain whose drawings and colours the detector knows: `demo` or `pretrain`."""

    contrast: NotNegative = 30.0
    """Distance in OpenCV's 8-bit Lab space above which a pixel differs from the background."""

    min_area: Count = 120
    """Smallest area of a region, in pixels."""

    tolerance: float = 0.25
    """Distance between features at which the score falls to 1/e."""

    def class_names(self) -> list[str]:
        """The categories that regions can get; none if the domain is unknown."""
        return categories(DOMAINS[self.world]) if self.world in DOMAINS else []


def fit_background(lab: np.ndarray) -> np.ndarray:
    """The plane of colour that fits most pixels of an image.

    The method is least squares, three times, each time on the half of the pixels that fits better.

    Args:
        lab: (height, width, 3) float32 in OpenCV's 8-bit Lab units.

    Returns:
        The colour of the plane at each pixel: (height, width, 3) float64 in the same units.
    """
    height, width = lab.shape[:2]
    y, x = np.mgrid[:height, :width]
    # A plane is a constant, a part that grows along x, and one that grows along y.
    constant = np.ones(height * width)
    x_share = x.ravel() / width
    y_share = y.ravel() / height
    terms = np.stack([constant, x_share, y_share], axis=1)
    colours = lab.reshape(-1, 3)
    # Shapes are more colourful than any background, so the fit starts with the greyest half. In
    # 8-bit Lab, grey is 128 in both colour channels.
    chroma = colours[:, 1:] - 128
    error = np.linalg.norm(chroma, axis=1)
    for _ in range(3):
        near = error <= np.median(error)
        plane, *_ = np.linalg.lstsq(terms[near], colours[near], rcond=None)
        fitted = terms @ plane
        error = np.linalg.norm(colours - fitted, axis=1)
    return fitted.reshape(lab.shape)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """An image in a space where distances are about as large as people see them.

    `rgb` is (height, width, 3) uint8, the result the same shape in float32 and OpenCV's 8-bit Lab
    units.
    """
    pixels = np.ascontiguousarray(rgb, np.uint8)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    return lab.astype(np.float32)


def palette_to_lab(colours: Mapping[str, Colour]) -> np.ndarray:
    """The colours of a palette as an array.

    Returns:
        (n, 3) float32 in OpenCV's 8-bit Lab units, in the order of the colours.
    """
    # As an image of a single row.
    row = np.array([list(colours.values())])
    (lab,) = to_lab(row)
    return lab


def blob_features(mask: np.ndarray) -> np.ndarray | None:
    """Five features of the largest blob of a mask.

    Args:
        mask: (height, width) uint8 of 0 and 1, with at least one 1.

    Returns:
        (5,) float64: the filled share of the convex hull, of the smallest rotated rectangle and of
        the enclosing circle; the area of the holes over the filled area; the roundness of the hull.
        None if the blob has no area.
    """
    outlines, hierarchy = cv2.findContours(
        mask,
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_NONE,
    )
    outline_areas = [cv2.contourArea(outline) for outline in outlines]
    # The last number of a hierarchy entry is the index of the outline around it, -1 for an outer
    # one.
    parents = [int(entry[3]) for entry in hierarchy[0]]
    outer = [index for index, parent in enumerate(parents) if parent < 0]
    largest = max(outer, key=lambda index: outline_areas[index])
    area = outline_areas[largest]
    if area <= 0:
        return None
    # The outlines inside the largest one are its holes.
    hole_area = 0.0
    for index, parent in enumerate(parents):
        if parent == largest:
            hole_area += outline_areas[index]
    return _outline_features(outlines[largest], area, hole_area)


def _outline_features(outline: np.ndarray, area: float, hole_area: float) -> np.ndarray:
    """The features of a blob.

    Args:
        outline: (points, 1, 2) int32, as OpenCV finds it.
        area: inside the outline, in square pixels.
        hole_area: of the holes, in square pixels.

    Returns:
        (5,) float64; see `blob_features`.
    """
    hull = cv2.convexHull(outline)
    hull_area = cv2.contourArea(hull)
    hull_length = cv2.arcLength(hull, True)
    _, rectangle_sides, _ = cv2.minAreaRect(outline)
    rectangle_area = np.prod(rectangle_sides)
    _, circle_radius = cv2.minEnclosingCircle(outline)
    circle_area = np.pi * circle_radius**2
    # 1 for a circle.
    roundness = 4 * np.pi * hull_area / hull_length**2
    features = [
        area / hull_area,
        area / rectangle_area,
        area / circle_area,
        hole_area / area,
        roundness,
    ]
    return np.array(features)


def drawing_features(shape: Shape, radius: int = 40) -> np.ndarray:
    """The features of a drawing, (5,) float64, rendered with a radius in pixels."""
    side = 4 * radius
    centre = 2 * radius
    mask = np.zeros((side, side), np.uint8)
    outlines = []
    for outline in shape:
        points = np.asarray(outline) * radius + centre
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
        # In this order the colours are numbered.
        self.colours = palette(domain)
        self.palette_lab = palette_to_lab(self.colours)
        self.prototypes = {}
        for category, shape in domain.shapes.items():
            self.prototypes[category] = drawing_features(shape)

    def __call__(self, batch: Batch) -> list[Result]:
        results: list[Result] = []
        for sample in batch:
            regions = self.detect(sample.pixels)
            results.append(Annotations(regions=regions))
        return results

    def detect(self, image: np.ndarray) -> list[Region]:
        """The regions of an image, best first.

        `image` is (height, width, 3) uint8 RGB; boxes are xyxy in pixels.
        """
        # The median removes the noise and keeps the edges.
        contiguous = np.ascontiguousarray(image)
        smooth = cv2.medianBlur(contiguous, 5)
        lab = to_lab(smooth)
        background = fit_background(lab)
        contrast = np.linalg.norm(lab - background, axis=2)
        is_foreground = contrast > self.config.contrast
        # (height, width, colours, 3)
        differences = lab[:, :, None] - self.palette_lab
        distances = np.linalg.norm(differences, axis=3)
        nearest = distances.argmin(2)
        kernel = np.ones((3, 3), np.uint8)
        regions = []
        for index, colour in enumerate(self.colours):
            has_colour = is_foreground & (nearest == index)
            mask = has_colour.astype(np.uint8)
            # Opening removes lines and specks of one or two pixels.
            opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
            regions += self._blobs(opened, colour)
        return sorted(regions, key=lambda region: -(region.score or 0))

    def _blobs(self, mask: np.ndarray, colour: str) -> list[Region]:
        """One region for each connected blob of one colour.

        `mask` is (height, width) uint8: 1 where the image has this colour.
        """
        _, labels, stats, _ = cv2.connectedComponentsWithStats(
            mask,
            connectivity=4,
        )
        regions = []
        for label, (x1, y1, width, height, area) in enumerate(stats.tolist()):
            # Label 0 is what no blob covers.
            if label == 0 or area < self.config.min_area:
                continue
            x2 = x1 + width
            y2 = y1 + height
            # Other blobs may reach into the box.
            blob = labels[y1:y2, x1:x2] == label
            category, score = self._classify(blob.astype(np.uint8), colour)
            region = Region(
                box=(
                    float(x1),
                    float(y1),
                    float(x2),
                    float(y2),
                ),
                phrase=category,
                score=score,
            )
            regions.append(region)
        return regions

    def _classify(self, blob: np.ndarray, colour: str) -> tuple[str, float]:
        """The category and the score of a blob.

        A blob of the signs' colour is a sign; its score is the share of the rotated rectangle that
        it fills.

        Args:
            blob: (height, width) uint8 of 0 and 1, cropped to the blob.
            colour: name of its colour.
        """
        # OpenCV needs a border around the blob.
        padded = np.pad(blob, 1)
        features = blob_features(padded)
        is_sign = colour == SIGN_COLOUR
        if features is None:
            # Some category is needed; the low score says that it is a guess.
            first_category = next(iter(self.prototypes))
            category = SIGN if is_sign else first_category
            return category, NO_LIKENESS
        if is_sign:
            rectangle_share = min(1.0, features[1])
            return SIGN, float(rectangle_share)
        distances = {}
        for category, prototype in self.prototypes.items():
            difference = features - prototype
            distances[category] = float(np.linalg.norm(difference))
        nearest = min(distances, key=distances.__getitem__)
        # Falls with the distance from 1 to 0.
        likeness = np.exp(-distances[nearest] / self.config.tolerance)
        return nearest, float(likeness)
