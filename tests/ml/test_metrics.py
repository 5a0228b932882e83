import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

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


COUNTS = np.array([[50, 3, 0, 0], [4, 20, 1, 0], [0, 0, 0, 0], [7, 0, 0, 0]])  # class 2 is a false alarm, 3 is missed


def test_the_figures_of_a_class_follow_their_definitions():
    hits, true, predicted = 20, 4 + 20 + 1, 3 + 20

    assert metrics.precision(COUNTS)[1] == pytest.approx(hits / predicted)
    assert metrics.recall(COUNTS)[1] == pytest.approx(hits / true)
    assert metrics.dice(COUNTS)[1] == pytest.approx(2 * hits / (true + predicted))
    assert metrics.support(COUNTS).tolist() == [53, 25, 0, 7]
    assert metrics.mean_accuracy(COUNTS) == pytest.approx((50 / 53 + hits / true + 0) / 3), "class 2 has no truth"


def test_what_cannot_be_measured_is_nan_and_a_false_alarm_is_zero():
    assert metrics.iou(COUNTS)[2] == 0
    assert math.isnan(metrics.recall(COUNTS)[2])
    assert math.isnan(metrics.precision(COUNTS)[3])
    assert metrics.recall(COUNTS)[3] == 0


@given(seed=st.integers(0, 10**6))
def test_dice_is_the_harmonic_mean_of_precision_and_recall(seed):
    counts = np.random.default_rng(seed).integers(1, 50, (5, 4, 4))

    precision, recall = metrics.precision(counts), metrics.recall(counts)

    np.testing.assert_allclose(metrics.dice(counts), 2 * precision * recall / (precision + recall))


def _counts(truth, prediction):
    return metrics.confusion(np.array([truth], np.uint8), np.array([prediction], np.uint8), 3)


def test_the_mean_over_images_weighs_small_defects_like_large_ones_and_leaves_empty_images_out():
    small, large = _counts([1, 0, 0, 0], [0, 1, 0, 0]), _counts([1, 1, 1, 1], [1, 1, 1, 1])
    empty = _counts([0, 0, 0, 0], [0, 0, 0, 0])
    images = np.stack([small, large, empty])

    assert metrics.mean_iou_over_images(images, background=False) == pytest.approx(1 / 2)
    assert metrics.mean_iou(images.sum(axis=0), background=False) == pytest.approx(4 / 6)
    assert metrics.mean_iou_over_images(images, background=True) == pytest.approx(((2 / 4 + 0) / 2 + 1 + 1) / 3)


def test_a_mask_of_one_pixel_is_found_whole_or_not_at_all():
    assert metrics.iou(_counts([0, 1, 0], [0, 1, 0]))[1] == 1
    assert metrics.iou(_counts([0, 1, 0], [1, 0, 0]))[1] == 0


def test_image_f1_calls_an_image_defective_from_its_first_pixel_on():
    hit, missed = _counts([0, 0, 1], [2, 0, 0]), _counts([0, 1, 1], [0, 0, 0])
    alarm, clean = _counts([0, 0, 0], [0, 0, 1]), _counts([0, 0, 0], [0, 0, 0])

    assert metrics.image_f1(np.stack([hit, missed, alarm, clean])) == pytest.approx(2 / (2 + 1 + 1))
    assert math.isnan(metrics.image_f1(clean[None]))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_auroc_is_the_share_of_pairs_in_the_right_order_ties_half(seed):
    rng = np.random.default_rng(seed)
    defective = rng.random(30) < 0.5
    scores = rng.integers(0, 8, 30) / 8
    pairs = [(a > b) + (a == b) / 2 for a in scores[defective] for b in scores[~defective]]

    found = metrics.auroc(defective, scores)

    assert found == pytest.approx(np.mean(pairs)) if pairs else math.isnan(found)


def test_auroc_of_masks_passes_over_an_image_of_nothing_but_ignore():
    defective, clean = _counts([0, 1, 1], [0, 1, 0]), _counts([0, 0, 0], [0, 0, 0])
    ignored = _counts([255, 255, 255], [1, 1, 1])

    assert metrics.image_auroc(np.stack([defective, clean, ignored])) == 1
    assert math.isnan(metrics.image_auroc(np.stack([defective, ignored])))


def test_the_interval_covers_the_truth_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)

    def covers():
        rates = rng.beta(8, 2, 60)
        hits = rng.binomial(100, rates)
        counts = np.zeros((60, 2, 2), np.int64)
        counts[:, 1, 1], counts[:, 1, 0] = hits, 100 - hits
        low, high = metrics.interval(counts, np.arange(60), lambda one: metrics.recall(one)[1], rng=rng, draws=150)
        return low <= 0.8 <= high

    assert 0.88 <= np.mean([covers() for _ in range(80)]) <= 0.99


def test_copies_of_an_image_in_one_scene_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 50, (40, 2, 2))
    copies, scenes = np.repeat(images, 4, axis=0), np.repeat(np.arange(40), 4)

    def width(counts, scenes):
        low, high = metrics.interval(
            counts, scenes, lambda one: metrics.mean_iou(one, background=True), rng=np.random.default_rng(1)
        )
        return high - low

    assert width(copies, scenes) == pytest.approx(width(images, np.arange(40)))
    assert width(copies, np.arange(160)) < 0.7 * width(images, np.arange(40))


def test_one_scene_has_no_interval():
    low, high = metrics.interval(
        np.ones((3, 2, 2), np.int64), np.zeros(3, np.int64), np.sum, rng=np.random.default_rng(0)
    )

    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_scikit_learn_where_it_has_them(seed):
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, 4, (2, 6, 30, 40)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    truth[:2][truth[:2] < 255] = 0
    found[[0, 2]] = 0  # one clean and one defective image are taken for clean
    counts = np.stack([metrics.confusion(one, other, 4) for one, other in zip(truth, found, strict=True)])
    whole, scores = counts.sum(axis=0), rng.random(6).round(1)
    pixels = truth[truth < 255], found[truth < 255]
    defective = np.array([False, False, True, True, True, True])

    np.testing.assert_array_equal(whole, reference.confusion_matrix(*pixels))
    for ours, theirs in (
        (metrics.iou, reference.jaccard_score),
        (metrics.dice, reference.f1_score),
        (metrics.precision, reference.precision_score),
        (metrics.recall, reference.recall_score),
    ):
        np.testing.assert_allclose(ours(whole), theirs(*pixels, average=None))
    assert metrics.mean_iou(whole, background=True) == pytest.approx(reference.jaccard_score(*pixels, average="macro"))
    assert metrics.mean_accuracy(whole) == pytest.approx(reference.balanced_accuracy_score(*pixels))
    assert metrics.image_f1(counts) == pytest.approx(reference.f1_score(defective, (found > 0).any(axis=(1, 2))))
    assert metrics.auroc(defective, scores) == pytest.approx(reference.roc_auc_score(defective, scores))
