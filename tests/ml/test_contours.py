import cv2
import numpy as np
import pytest

from ml import contours

NOTHING = np.zeros((20, 20), bool)


def _dot(row, column):
    mask = NOTHING.copy()
    mask[row, column] = True
    return mask


def _blob(rng, size=(60, 80)):
    return cv2.GaussianBlur(rng.standard_normal(size), (0, 0), 4) > 0.03


def _mask_to_boundary(mask, dilation_ratio=0.02):
    """The authors' function: github.com/bowenc0221/boundary-iou-api, boundary_iou/utils/boundary_utils.py."""
    height, width = mask.shape
    dilation = max(1, round(dilation_ratio * np.sqrt(height**2 + width**2)))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=dilation)
    return mask & ~eroded[1 : height + 1, 1 : width + 1].astype(bool)


@pytest.mark.parametrize("seed", range(10))
def test_boundary_iou_is_that_of_its_authors(seed):
    rng = np.random.default_rng(seed)
    truth, found = _blob(rng), _blob(rng)
    true, predicted = _mask_to_boundary(truth), _mask_to_boundary(found)

    counts = contours.boundary_counts(truth, found, np.zeros_like(truth))

    assert counts.tolist() == [(true & predicted).sum(), (true | predicted).sum()]


def test_a_mask_of_one_pixel_is_all_boundary_and_empty_masks_have_none():
    assert contours.boundary_counts(_dot(4, 4), _dot(4, 4), NOTHING).tolist() == [1, 1]
    assert contours.boundary_counts(_dot(4, 4), _dot(4, 5), NOTHING).tolist() == [0, 2]
    assert contours.boundary_counts(NOTHING, NOTHING, NOTHING).tolist() == [0, 0]


def test_where_a_mask_meets_ignored_pixels_is_no_boundary():
    truth, ignored = NOTHING.copy(), NOTHING.copy()
    truth[5:15, 5:15] = True
    ignored[:, 15:] = True

    counts = contours.boundary_counts(truth, truth, ignored)

    assert counts.tolist() == [10 + 2 * 9, 10 + 2 * 9], "left side, and the rest of top and bottom"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("radius", [0, 1, 3, 40])
def test_grown_reaches_what_lies_within_the_radius(seed, radius):
    mask = np.random.default_rng(seed).random((13, 17)) < 0.02
    places = np.argwhere(mask)
    near = [[any(max(abs(y - a), abs(x - b)) <= radius for a, b in places) for x in range(17)] for y in range(13)]

    np.testing.assert_array_equal(contours.grown(mask, radius), np.array(near))


def test_a_crack_two_pixels_aside_is_found_and_three_aside_is_not():
    crack, aside, away = NOTHING.copy(), NOTHING.copy(), NOTHING.copy()
    crack[:, 8], aside[:, 10], away[:, 11] = True, True, True

    assert contours.tolerant_f1(contours.tolerant_counts(crack, aside, NOTHING)) == 1
    assert contours.tolerant_f1(contours.tolerant_counts(crack, away, NOTHING)) == 0


def test_half_a_crack_is_found_with_all_precision_and_half_the_recall():
    crack, half = NOTHING.copy(), NOTHING.copy()
    crack[:, 8], half[:8, 9] = True, True

    assert contours.tolerant_counts(crack, half, NOTHING).tolist() == [8, 8, 20, 10]
    assert contours.tolerant_f1(np.array([8, 8, 20, 10])) == pytest.approx(2 * 0.5 / 1.5)


def test_empty_masks_have_no_tolerant_f1_and_ignored_pixels_no_part_in_it():
    assert np.isnan(contours.tolerant_f1(contours.tolerant_counts(NOTHING, NOTHING, NOTHING)))
    assert contours.tolerant_f1(contours.tolerant_counts(_dot(3, 3), NOTHING, NOTHING)) == 0
    assert contours.tolerant_counts(_dot(3, 3), _dot(3, 4), ~NOTHING).tolist() == [0, 0, 0, 0]
