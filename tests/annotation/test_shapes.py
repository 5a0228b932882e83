"""Shapes against an independent rasterisation: Pillow's, at sixteen times the size, and the angle sum point by point."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from annotation.masks import MaskError
from annotation.shapes import ellipse, polygon, rectangle

SIZE = (60, 40)
FINE = 16


def _coverage(corners):
    """How much of each pixel a polygon covers, painted on a canvas sixteen times as large."""
    canvas = Image.new("L", (SIZE[0] * FINE, SIZE[1] * FINE))
    ImageDraw.Draw(canvas).polygon([(x * FINE, y * FINE) for x, y in corners], fill=1)
    return np.asarray(canvas).reshape(SIZE[1], FINE, SIZE[0], FINE).mean(axis=(1, 3))


def _agrees(mask, coverage):
    """Pixels covered by a fifth or by four fifths depend on where their centre lies; the others do not."""
    return mask[coverage > 0.8].all() and not mask[coverage < 0.2].any() and mask.any()


def _corners(x, y, width, height, rotation):
    """Of a rectangle, in pixels."""
    x, width = x * SIZE[0] / 100, width * SIZE[0] / 100
    y, height = y * SIZE[1] / 100, height * SIZE[1] / 100
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    return [
        (x, y),
        (x + width * cos, y + width * sin),
        (x + width * cos - height * sin, y + width * sin + height * cos),
        (x - height * sin, y + height * cos),
    ]


@pytest.mark.parametrize("rotation", [0, 17, 45, 90, 133, 200, 359])
def test_a_rectangle_turns_clockwise_about_its_top_left_corner(rotation):
    value = {"x": 50, "y": 40, "width": 30, "height": 25, "rotation": rotation}

    mask = rectangle(value, SIZE)

    assert _agrees(mask, _coverage(_corners(**value)))


def test_an_unturned_rectangle_covers_exactly_its_pixels():
    mask = rectangle({"x": 10, "y": 25, "width": 50, "height": 50}, SIZE)

    expected = np.zeros((40, 60), bool)
    expected[10:30, 6:36] = True
    assert (mask == expected).all()


@pytest.mark.parametrize("rotation", [0, 30, 75, 120, 270])
def test_an_ellipse_turns_clockwise_about_its_centre(rotation):
    value = {"x": 48, "y": 52, "radiusX": 30, "radiusY": 15, "rotation": rotation}
    turn = math.radians(rotation)
    angles = np.linspace(0, 2 * math.pi, 400)
    along, across = 0.30 * SIZE[0] * np.cos(angles), 0.15 * SIZE[1] * np.sin(angles)
    x = 0.48 * SIZE[0] + along * math.cos(turn) - across * math.sin(turn)
    y = 0.52 * SIZE[1] + along * math.sin(turn) + across * math.cos(turn)

    mask = ellipse(value, SIZE)

    assert _agrees(mask, _coverage(zip(x, y, strict=True)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-10, 110), st.integers(-10, 110)), min_size=3, max_size=7))
def test_a_polygon_holds_the_pixels_its_outline_winds_around(points):
    corners = np.array(points) * np.array(SIZE) / 100

    mask = polygon({"points": [list(point) for point in points], "closed": True}, SIZE)

    for row, column in np.ndindex(mask.shape):
        centre = np.array([column + 0.5, row + 0.5])
        turns = _angle_sum(corners - centre)
        if turns is not None:
            assert mask[row, column] == (abs(turns) > math.pi), (row, column)


def _angle_sum(corners):
    """By which an outline turns around the origin; None where it touches it."""
    ends = np.roll(corners, -1, axis=0)
    cross = corners[:, 0] * ends[:, 1] - corners[:, 1] * ends[:, 0]
    dot = (corners * ends).sum(axis=1)
    if (np.isclose(cross, 0) & (dot <= 1e-9)).any():
        return None
    return np.arctan2(cross, dot).sum()


def test_what_a_polygon_winds_around_twice_is_inside_too():
    star = [
        [50 + 45 * math.sin(turn * 4 * math.pi / 5), 50 - 45 * math.cos(turn * 4 * math.pi / 5)] for turn in range(5)
    ]

    assert polygon({"points": star, "closed": True}, SIZE)[20, 30]


def test_a_shape_beyond_the_border_is_cut_off_there():
    mask = polygon({"points": [[-50, -50], [150, -50], [150, 150], [-50, 150]], "closed": True}, SIZE)

    assert mask.all()


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (polygon, {}),
        (polygon, {"points": [[1, 1], [2, 2]], "closed": True}),
        (polygon, {"points": [[1, 1], [50, 2], [30, 60]], "closed": False}),
        (polygon, {"points": [[1, 1], [50, 2], [30]], "closed": True}),
        (polygon, {"points": [[1, 1], [50, 2], [30, "60"]], "closed": True}),
        (polygon, {"points": [[1, 1], [50, 2], [30, math.nan]], "closed": True}),
        (rectangle, {"x": 1, "y": 1, "width": 5}),
        (rectangle, {"x": 1, "y": 1, "width": math.inf, "height": 2}),
        (rectangle, {"x": 1, "y": 1, "width": 5, "height": 2, "rotation": None}),
        (ellipse, {"x": 1, "y": 1, "radiusX": 5}),
        (ellipse, {"x": 1, "y": 1, "radiusX": 0, "radiusY": 5}),
        (ellipse, {"x": 1, "y": True, "radiusX": 4, "radiusY": 5}),
    ],
)
def test_a_shape_without_an_area_is_refused(shape, value):
    with pytest.raises(MaskError, match="expected"):
        shape(value, SIZE)
