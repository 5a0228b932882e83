import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.learning_curves import area, growing, half_width, holm, labels_to, sign_flip

heights = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_the_area_is_the_mean_height_by_trapezes():
    # nnActive, compute_auc: sum((y_t + y_t+1) / 2 * (b_t+1 - b_t)) / (b_T - b_0)
    assert area([10, 20, 40], [0.2, 0.4, 0.6]) == pytest.approx((0.3 * 10 + 0.5 * 20) / 30)
    assert area([10, 20, 40], [0.2, 0.4, 0.6], log=True) == pytest.approx((0.3 + 0.5) / 2)
    assert area([10], [0.2]) == 0.2


@given(values=heights)
def test_a_curve_made_to_grow_never_falls_and_keeps_its_mean(values):
    found = growing(values)

    assert (np.diff(found) >= -1e-12).all()
    assert found.mean() == pytest.approx(np.mean(values))
    if (np.diff(values) >= 0).all():
        assert found.tolist() == pytest.approx(values)


def test_falling_neighbours_are_pooled():
    assert growing([0.1, 0.5, 0.3, 0.9]).tolist() == pytest.approx([0.1, 0.4, 0.4, 0.9])


@pytest.mark.parametrize(("target", "expected"), [(0.1, 10), (0.4, 20), (0.5, 30), (0.6, 40), (0.7, None)])
def test_labels_to_a_target_lie_on_the_line_between_two_budgets(target, expected):
    found = labels_to([10, 20, 40], [0.2, 0.4, 0.6], target)

    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("differences", [[0.1, 0.2, 0.3], [0.1, -0.2, 0.3, 0.05], [0.0, 0.0], [1.0] * 6])
def test_the_sign_flip_test_counts_every_way_to_flip(differences):
    wanted = abs(np.mean(differences))
    ways = [
        abs(np.mean([sign * one for sign, one in zip(signs, differences, strict=True)]))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]

    assert sign_flip(differences, np.random.default_rng(0)) == np.mean([way >= wanted - 1e-12 for way in ways])


def test_three_seeds_that_agree_prove_little_and_twenty_much():
    assert sign_flip([0.1, 0.1, 0.1], np.random.default_rng(0)) == 0.25
    assert sign_flip([0.1] * 20, np.random.default_rng(0)) < 0.001


def test_several_comparisons_cost_certainty():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_the_interval_is_students():
    assert half_width(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.303 / np.sqrt(3))
    assert np.isnan(half_width(np.array([1.0])))
