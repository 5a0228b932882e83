"""Outlines: filled again they give the mask, and Pillow's flood fill counts as many pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw

from annotation.contours import area, pieces, rings
from annotation.masks import MaskError
from annotation.shapes import fill

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.booleans())


@settings(max_examples=300, deadline=None)
@given(masks)
def test_outlines_filled_again_are_the_mask(mask):
    outlines = rings(mask)

    assert (fill(outlines, mask.shape[::-1]) == mask).all() if outlines else not mask.any()
    assert sum(map(area, outlines)) == mask.sum()


@settings(max_examples=100, deadline=None)
@given(masks)
def test_every_piece_has_one_outline_around_it_and_pixels_that_touch_at_a_corner_are_one_piece(mask):
    found = list(pieces(mask))

    assert len(found) == _pieces(mask)
    assert (sum((piece.astype(int) for _, piece in found), np.zeros(mask.shape, int)) == mask).all()
    assert all(_pieces(piece) == 1 for _, piece in found)


def _pieces(mask):
    """Counted by flooding each pixel that is not flooded yet, on a canvas where diagonal neighbours are joined."""
    canvas = Image.new("L", (2 * mask.shape[1] + 1, 2 * mask.shape[0] + 1))
    for y, x in np.argwhere(mask):
        ImageDraw.Draw(canvas).rectangle((2 * x, 2 * y, 2 * x + 2, 2 * y + 2), fill=1)
    count = 0
    for y, x in np.argwhere(mask):
        if canvas.getpixel((int(2 * x + 1), int(2 * y + 1))) == 1:
            ImageDraw.floodfill(canvas, (int(2 * x + 1), int(2 * y + 1)), 2)
            count += 1
    return count


def test_a_hole_has_an_outline_of_its_own_that_runs_the_other_way_round():
    mask = np.ones((5, 6), bool)
    mask[2, 2:4] = False

    outer, hole = sorted(rings(mask), key=area, reverse=True)

    assert outer.tolist() == [[0, 0], [6, 0], [6, 5], [0, 5]]
    assert (area(outer), area(hole)) == (30, -2)


def test_a_piece_within_a_hole_comes_before_the_piece_around_it():
    mask = np.ones((7, 7), bool)
    mask[1:6, 1:6] = False
    mask[3, 3] = True

    assert [int(piece.sum()) for _, piece in pieces(mask)] == [1, 24]


@pytest.mark.parametrize("far", [1e8, 1e300, np.inf, np.nan])
def test_an_outline_that_reaches_absurdly_far_is_refused(far):
    with pytest.raises(MaskError, match="within 10000000 pixels"):
        fill([np.array([[0, 0], [far, 0], [0, 5]])], (10, 10))


def test_an_outline_of_very_many_corners_is_filled_as_any_other():
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    ring = np.stack([50 + 40 * np.cos(angles), 50 + 40 * np.sin(angles)], axis=1)

    mask = fill([ring], (100, 100))

    dy, dx = np.mgrid[:100, :100] - 49.5
    assert (mask == (dy**2 + dx**2 < 40**2)).mean() > 0.999
