import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import contours

NOTHING = np.zeros((20, 20), np.uint8)


def _dot(row, column):
    mask = NOTHING.copy()
    mask[row, column] = 1
    return mask


@st.composite
def _pairs(draw):
    """Index masks of up to 90 x 90 pixels, speckled or in blocks, with pixels to ignore, and how many classes they have."""
    classes, grain = draw(st.integers(2, 10) | st.sampled_from([17, 18, 255])), draw(st.integers(1, 12))
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth, found = (rng.integers(0, classes, (height, width), np.uint8) for _ in range(2))
    truth, found = (np.kron(one, np.ones((grain, grain), np.uint8))[:height, :width] for one in (truth, found))
    found = np.where(rng.random(found.shape) < draw(st.floats(0, 1)), truth, found)
    truth[rng.random(truth.shape) < draw(st.sampled_from([0, 0.01, 0.3, 1]))] = 255
    return truth, found, classes


def _each_class(truth, found, classes):
    """Both as one mask per class; first all defects together."""
    yield (truth > 0) & (truth < 255), found > 0
    for of in range(1, classes):
        yield truth == of, found == of


def _mask_to_boundary(mask, ignored, dilation_ratio=0.02):
    """The authors' function: github.com/bowenc0221/boundary-iou-api, boundary_iou/utils/boundary_utils.py.

    Changed: what is ignored is taken for a part of the mask, and its boundary does not count.
    """
    height, width = mask.shape
    dilation = max(1, round(dilation_ratio * np.sqrt(height**2 + width**2)))
    padded = cv2.copyMakeBorder((mask | ignored).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=dilation)
    return mask & ~ignored & ~eroded[1 : height + 1, 1 : width + 1].astype(bool)


@settings(deadline=None)
@given(_pairs())
def test_boundary_iou_is_that_of_its_authors(pair):
    truth, found, classes = pair
    expected = []
    for masks in _each_class(truth, found, classes):
        true, predicted = (_mask_to_boundary(mask, truth == 255) for mask in masks)
        expected.append([(true & predicted).sum(), (true | predicted).sum()])

    assert contours.counts(truth, found, classes).boundaries.tolist() == expected


@settings(deadline=None)
@given(_pairs(), st.sampled_from([0, 1, 2, 3, 40]))
def test_a_pixel_is_met_where_one_of_its_class_lies_within_the_tolerance(pair, tolerance):
    truth, found, classes = pair
    expected = []
    for true, predicted in _each_class(truth, np.where(truth == 255, 0, found), classes):
        square = np.ones((2 * tolerance + 1,) * 2, np.uint8)
        near_true, near_predicted = (cv2.dilate(one.astype(np.uint8), square) > 0 for one in (true, predicted))
        counted = (predicted, predicted & near_true, true, true & near_predicted)
        expected.append([one.sum() for one in counted])

    assert contours.counts(truth, found, classes, tolerance=tolerance).tolerant.tolist() == expected


def test_a_mask_of_one_pixel_is_all_boundary_and_empty_masks_have_none():
    assert contours.counts(_dot(4, 4), _dot(4, 4), 2).boundaries[1].tolist() == [1, 1]
    assert contours.counts(_dot(4, 4), _dot(4, 5), 2).boundaries[1].tolist() == [0, 2]
    assert contours.counts(NOTHING, NOTHING, 2).boundaries[1].tolist() == [0, 0]


def test_where_a_mask_meets_ignored_pixels_is_no_boundary():
    truth = NOTHING.copy()
    truth[5:15, 5:15], truth[:, 15:] = 1, 255

    counts = contours.counts(truth, truth % 255, 2).boundaries

    assert counts[1].tolist() == [10 + 2 * 9, 10 + 2 * 9], "left side, and the rest of top and bottom"


def test_where_two_defects_touch_each_has_a_boundary_and_both_together_have_none():
    truth = np.ones((20, 20), np.uint8)
    truth[:, 10:] = 2

    counts = contours.counts(truth, truth, 3).boundaries

    assert counts[:, 0].tolist() == [4 * 19, 2 * 20 + 2 * 8, 2 * 20 + 2 * 8]


def _lines(*columns):
    masks = [NOTHING.copy() for _ in columns]
    for mask, column in zip(masks, columns, strict=True):
        mask[:, column] = 1
    return masks


def test_a_crack_two_pixels_aside_is_found_and_three_aside_is_not():
    crack, aside, away = _lines(8, 10, 11)

    assert contours.tolerant_f1(contours.counts(crack, aside, 2).tolerant[1]) == 1
    assert contours.tolerant_f1(contours.counts(crack, away, 2).tolerant[1]) == 0


def test_half_a_crack_is_found_with_all_precision_and_half_the_recall():
    crack, half = _lines(8, 9)
    half[8:] = 0

    assert contours.counts(crack, half, 2).tolerant[1].tolist() == [8, 8, 20, 10]
    assert contours.tolerant_f1(np.array([8, 8, 20, 10])) == pytest.approx(2 * 0.5 / 1.5)


def test_empty_masks_have_no_tolerant_f1_and_ignored_pixels_no_part_in_it():
    assert np.isnan(contours.tolerant_f1(contours.counts(NOTHING, NOTHING, 2).tolerant[1]))
    assert contours.tolerant_f1(contours.counts(_dot(3, 3), NOTHING, 2).tolerant[1]) == 0
    assert contours.counts(NOTHING + 255, _dot(3, 4), 2).tolerant[1].tolist() == [0, 0, 0, 0]
