import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import metrics


def _confusion_by_loops(truth, prediction, classes):
    counts = np.zeros((classes, classes), dtype=np.int64)
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t != 255:
            counts[t, p] += 1
    return counts


@given(seed=st.integers(0, 10**6), classes=st.integers(1, 200))
def test_confusion_counts_what_a_loop_over_pixels_counts(seed, classes):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (7, 9)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    prediction = rng.integers(0, classes, truth.shape).astype(np.uint8)

    counts = metrics.confusion(truth, prediction, classes)

    np.testing.assert_array_equal(counts, _confusion_by_loops(truth, prediction, classes))
    assert counts.dtype == np.int64


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([[4]], [[0]], r"truth in 0\.\.3 and 255 \(ignore\), got \[4\]"),
        ([[0]], [[4]], r"predictions in 0\.\.3, got 4"),
        ([[0]], [[0, 0]], "one shape"),
    ],
)
def test_confusion_refuses_values_that_are_no_class(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        metrics.confusion(np.array(truth, np.uint8), np.array(prediction, np.uint8), 4)


def test_a_million_pixels_are_counted_in_ten_milliseconds():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (2, 1000, 1000)).astype(np.uint8)
    metrics.confusion(truth, prediction, 4)

    def seconds():
        # Processor time: the machine may be busy with something else.
        started = time.process_time()
        metrics.confusion(truth, prediction, 4)
        return time.process_time() - started

    assert min(seconds() for _ in range(5)) < 0.020  # half the speed promised, so that a slow machine passes


def test_iou_is_intersection_over_union_and_nan_for_a_class_nobody_shows():
    counts = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])

    values = metrics.iou(counts)

    np.testing.assert_allclose(values, [6 / 9, 3 / 6, np.nan])


def test_mean_iou_is_over_present_classes_with_or_without_background():
    counts = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])

    assert metrics.mean_iou(counts, background=True) == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert metrics.mean_iou(counts, background=False) == pytest.approx(3 / 6)
    assert math.isnan(metrics.mean_iou(np.diag([5, 0, 0]), background=False))


def test_figures_are_read_from_the_sum_and_absent_classes_are_none():
    figures = metrics.figures("a.pt", np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]))

    assert figures.iou == (6 / 9, 3 / 6, None)
    assert figures.confusion == ((6, 2, 0), (1, 3, 0), (0, 0, 0))
    assert figures.miou_foreground == 0.5
    assert metrics.figures("a.pt", np.diag([5, 0, 0])).miou_foreground is None


def test_figures_of_nothing_are_refused():
    with pytest.raises(ValueError, match="every pixel of the truth is 255"):
        metrics.figures("a.pt", np.zeros((3, 3), dtype=np.int64))
