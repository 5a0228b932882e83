import pytest

from ml import planning
from ml.recipes import RECIPES, frozen_copy

SMALL = {"steps": 100, "batch": 4}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("supervised", [400]),
        ("ppl", [400, 800, 800]),
        # Two strong views of each unlabelled image.
        ("w2s_ema", [1200]),
        # 20 epochs of 20 labels; 50 and 100 pseudo-labels are 12.5 and 25 batches of 4, as many labels beside them.
        ("st_plus_plus", [400, 20 * 50 * 2, 20 * 100 * 2]),
        ("ppl_distilled", [400, 800, 800, 800]),
    ],
)
def test_the_passes_of_a_round_follow_from_its_recipe(recipe, expected):
    passes = planning.image_passes(frozen_copy(recipe, SMALL), labels=20, pool=100)

    assert list(passes.values()) == expected


def test_the_released_schedule_trains_seven_and_fourteen_times_as_long_at_an_eighth():
    """NEU-Seg, 453 labels, 58 epochs: 3.2, 23.0 and 46.1 thousand steps of eight images (read off the code)."""
    passes = planning.image_passes(frozen_copy("ppl_as_released"), labels=453, pool=3177)

    assert [round(count / 8 / 1000, 1) for count in passes.values()] == [3.3, 23.0, 46.1]


@pytest.mark.parametrize("recipe", RECIPES)
def test_with_everything_labelled_every_recipe_trains_on_labels_alone(recipe):
    passes = planning.image_passes(frozen_copy(recipe, SMALL), labels=50, pool=0)

    assert set(passes.values()) <= {400, 200 * 2}


def test_they_are_told_in_words():
    assert planning.in_words({"a": 1000, "b": 2500}) == "3,500 image passes (a 1,000, b 2,500)"
    assert planning.in_words({"a": 1000}) == "1,000 image passes"


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_can_be_given_the_same_passes(recipe):
    given = planning.with_passes(frozen_copy(recipe), 32_000, labels=20, pool=100)

    passes = planning.image_passes(given, labels=20, pool=100)
    assert sum(passes.values()) == pytest.approx(32_000, rel=0.02)
