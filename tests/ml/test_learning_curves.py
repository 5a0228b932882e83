import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.learning_curves import (
    area,
    growing,
    half_width,
    holm,
    interval,
    labels_to,
    needed,
    ratio,
    seeds_drawn,
    sign_flip,
)

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


def test_nothing_is_said_of_a_curve_beyond_its_budgets():
    first, within, beyond = (needed([10, 20, 40], [0.2, 0.4, 0.6], target) for target in (0.1, 0.5, 0.7))

    assert (first, within, beyond) == ((0, 10), pytest.approx((30, 30)), (40, np.inf))
    assert ratio(within, beyond) == pytest.approx((0, 30 / 40))
    assert ratio(beyond, within) == pytest.approx((40 / 30, np.inf))
    assert ratio(first, within) == pytest.approx((0, 1 / 3))
    assert ratio(beyond, first) == (4, np.inf)


def test_an_interval_holds_all_but_a_fortieth_on_either_side_and_may_have_no_end():
    certain = [(float(number), float(number)) for number in range(101)]

    assert interval(certain) == (2, 98)
    assert interval([*certain, *[(40.0, np.inf)] * 3]) == (2, np.inf)


def test_seeds_are_drawn_with_replacement():
    drawn = seeds_drawn(3, np.random.default_rng(0), draws=500)

    assert drawn.shape == (500, 3)
    assert np.bincount(drawn.ravel()).tolist() == pytest.approx([500] * 3, rel=0.15)
    assert len({tuple(sorted(one)) for one in drawn.tolist()}) == 10  # of three, with repetition


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
