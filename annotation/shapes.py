"""Polygons, rectangles and ellipses drawn in Label Studio, as masks: a pixel belongs to a shape if its centre does.

Coordinates and lengths are percent of the image's width or height, rotations degrees clockwise. Every function takes a
region's `value` and the image's size, and raises MaskError where the value does not describe an area.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.brush import BoolMask
from annotation.masks import MaskError, Size

Value = Mapping[str, Any]

FURTHEST = 1e6  # percent; Label Studio stores any number, and beyond this sums and products lose all meaning


def polygon(value: Value, size: Size) -> BoolMask:
    """Inside of a closed polygon. What it winds around twice is inside too, as the editor paints it."""
    points = value.get("points")
    if not isinstance(points, list) or len(points) < 3 or value.get("closed") is False:
        raise MaskError("polygon: expected at least three points and a closed outline. Close it, or delete it.")
    corners = [_numbers({"x": point[0], "y": point[1]}, "x", "y") for point in points if _is_pair(point)]
    if len(corners) < len(points):
        raise MaskError(f"polygon: expected points [x, y], got {points!r:.80}. Draw it again.")
    return _fill(np.array(corners) * np.array(size) / 100, size)


def rectangle(value: Value, size: Size) -> BoolMask:
    """Inside of a rectangle turned about its top left corner."""
    left, top, width, height, rotation = _numbers({"rotation": 0, **value}, "x", "y", "width", "height", "rotation")
    corner = np.array([left, top]) * np.array(size) / 100
    # In pixels: turning percentages would shear every image that is not square.
    across = width * size[0] / 100 * _direction(rotation)
    down = height * size[1] / 100 * _direction(rotation + 90)
    return _fill(np.stack([corner, corner + across, corner + across + down, corner + down]), size)


def ellipse(value: Value, size: Size) -> BoolMask:
    """Inside of an ellipse turned about its centre."""
    x, y, radius_x, radius_y, rotation = _numbers({"rotation": 0, **value}, "x", "y", "radiusX", "radiusY", "rotation")
    if radius_x <= 0 or radius_y <= 0:
        raise MaskError(f"ellipse: expected radii above 0, got {radius_x} and {radius_y}. Draw it again, or delete it.")
    width, height = size
    dx = np.arange(width) + 0.5 - x * width / 100
    dy = (np.arange(height) + 0.5 - y * height / 100)[:, None]
    cos, sin = _direction(rotation)
    along = (dx * cos + dy * sin) / (radius_x * width / 100)
    across = (dy * cos - dx * sin) / (radius_y * height / 100)
    inside: BoolMask = along**2 + across**2 <= 1
    return inside


def _fill(corners: NDArray[np.float64], size: Size) -> BoolMask:
    """Pixels around which an outline (N, 2), in pixels, winds: each edge counts for all pixels to the right of it."""
    width, height = size
    winding = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rows = np.arange(_first_centre(min(y0, y1), height), _first_centre(max(y0, y1), height))
        if rows.size == 0:
            continue
        x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        winding[rows, columns] += 1 if y1 > y0 else -1
    inside: BoolMask = np.cumsum(winding, axis=1)[:, :width] != 0
    return inside


def _first_centre(y: float, height: int) -> int:
    """The first row whose centre lies at `y` or below it."""
    return int(np.clip(np.ceil(y - 0.5), 0, height))


def _direction(degrees: float) -> NDArray[np.float64]:
    return np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])


def _is_pair(point: Any) -> bool:
    return isinstance(point, list | tuple) and len(point) == 2


def _numbers(value: Value, *names: str) -> list[float]:
    for name in names:
        number = value.get(name)
        # NaN is not within the limits either
        if not isinstance(number, int | float) or isinstance(number, bool) or not -FURTHEST <= number <= FURTHEST:
            raise MaskError(f"shape: expected a number for {name}, got {number!r}. Draw it again.")
    return [float(value[name]) for name in names]
