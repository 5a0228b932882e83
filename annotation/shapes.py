"""Polygons, rectangles and ellipses drawn in Label Studio, as masks: a pixel belongs to a shape if its centre does.

Coordinates and lengths are percent of the image's width or height, rotations degrees clockwise. Every function takes a
region's `value` and the image's size, and raises MaskError where the value does not describe an area.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.brush import BoolMask
from annotation.masks import MaskError, Size

Value = Mapping[str, Any]

LARGEST = 1e6  # percent; Label Studio stores any number, and beyond this sums and products lose all meaning
FARTHEST = 1e7  # pixels: beyond it the arithmetic would lose the fractions of a pixel, or overflow
EDGES = 1024  # filled at once: each takes memory for every row it crosses


def polygon(value: Value, size: Size) -> BoolMask:
    """Inside of a closed polygon. What it winds around twice is inside too, as the editor paints it."""
    points = value.get("points")
    if not isinstance(points, list) or len(points) < 3 or value.get("closed") is False:
        raise MaskError("polygon: expected at least three points and a closed outline. Close it, or delete it.")
    corners = [_numbers({"x": point[0], "y": point[1]}, "x", "y") for point in points if _is_pair(point)]
    if len(corners) < len(points):
        raise MaskError(f"polygon: expected points [x, y], got {points!r:.80}. Draw it again.")
    return fill([np.array(corners) * np.array(size) / 100], size)


def rectangle(value: Value, size: Size) -> BoolMask:
    """Inside of a rectangle turned about its top left corner."""
    left, top, width, height, rotation = _numbers({"rotation": 0, **value}, "x", "y", "width", "height", "rotation")
    corner = np.array([left, top]) * np.array(size) / 100
    # In pixels: turning percentages would shear every image that is not square.
    across = width * size[0] / 100 * _direction(rotation)
    down = height * size[1] / 100 * _direction(rotation + 90)
    return fill([np.stack([corner, corner + across, corner + across + down, corner + down])], size)


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


def fill(rings: Sequence[NDArray[Any]], size: Size) -> BoolMask:
    """Pixels around which closed outlines (N, 2), x and y in pixels, wind: one that runs against another cuts a hole.

    Raises:
        MaskError: A corner lies absurdly far away.
    """
    starts = np.concatenate(rings).astype(np.float64)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).astype(np.float64)
    if not (np.abs(starts) <= FARTHEST).all():
        raise MaskError(f"outline: expected corners within {FARTHEST:.0f} pixels of the image. Draw it again.")
    width, height = size
    winding = np.zeros((height, width + 1), np.int32)
    for at in range(0, len(starts), EDGES):
        _wind(winding, starts[at : at + EDGES], ends[at : at + EDGES])
    inside: BoolMask = np.cumsum(winding, axis=1)[:, :width] != 0
    return inside


def _wind(winding: NDArray[np.int32], starts: NDArray[np.float64], ends: NDArray[np.float64]) -> None:
    """Let each edge count for all pixels to the right of it."""
    height, width = winding.shape[0], winding.shape[1] - 1
    tops, bottoms = (_first_centre(choose(starts[:, 1], ends[:, 1]), height) for choose in (np.minimum, np.maximum))
    counts = bottoms - tops
    edge = np.repeat(np.arange(len(starts)), counts)
    rows = np.arange(edge.size) - np.repeat(np.cumsum(counts) - counts, counts) + tops[edge]
    (x0, y0), (x1, y1) = starts[edge].T, ends[edge].T
    x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    np.add.at(winding, (rows, columns), np.where(y1 > y0, 1, -1))


def _first_centre(y: NDArray[np.float64], height: int) -> NDArray[np.int64]:
    """The first rows whose centres lie at `y` or below."""
    return np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)


def _direction(degrees: float) -> NDArray[np.float64]:
    return np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])


def _is_pair(point: Any) -> bool:
    return isinstance(point, list | tuple) and len(point) == 2


def _numbers(value: Value, *names: str) -> list[float]:
    for name in names:
        number = value.get(name)
        # NaN is not within the limits either
        if not isinstance(number, int | float) or isinstance(number, bool) or not -LARGEST <= number <= LARGEST:
            raise MaskError(f"shape: expected a number for {name}, got {number!r}. Draw it again.")
    return [float(value[name]) for name in names]
