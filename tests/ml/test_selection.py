from dataclasses import dataclass

import pytest

from ml import selection
from ml.selection import CollapsedError


@dataclass(frozen=True)
class Predicted:
    name: str
    confidence: float
    class_pixels: tuple[int, ...] = (100, 0, 0)
    stability: float | None = None
    reliability: float | None = None


COMMON, RARE = (90, 10, 0), (80, 10, 10)
# Models are surest of clean images, then of the common defect; the rare one comes last.
RANKING = [
    *(Predicted(f"clean {n}", 0.90 - n / 100) for n in range(6)),
    *(Predicted(f"common {n}", 0.70 - n / 100, COMMON) for n in range(4)),
    *(Predicted(f"rare {n}", 0.50 - n / 100, RARE) for n in range(2)),
]


def _names(predictions):
    return [one.name for one in predictions]


def test_in_one_ranking_a_rare_class_is_ranked_out():
    accepted, refused = selection.divided(RANKING, {"share": 0.5})

    assert _names(accepted) == [f"clean {n}" for n in range(6)]
    assert _names(refused) == [one.name for one in RANKING[6:]]


def test_by_class_the_same_share_of_each_is_accepted_and_the_rare_one_stays():
    accepted, refused = selection.divided(RANKING, {"share": 0.5, "per_class": True})

    assert _names(accepted) == ["clean 0", "clean 1", "clean 2", "common 0", "common 1", "rare 0"]
    assert _names(refused) == ["clean 3", "clean 4", "clean 5", "common 2", "common 3", "rare 1"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.33, 0.5, 0.99, 1.0])
def test_by_class_as_many_are_accepted_as_without(share):
    whole = selection.divided(RANKING, {"share": share})
    by_class = selection.divided(RANKING[::-1], {"share": share, "per_class": True})

    assert [len(part) for part in by_class] == [len(part) for part in whole]
    assert len(by_class[0]) == selection.accepted_of(len(RANKING), {"share": share})
    assert sorted(_names(by_class[0] + by_class[1])) == sorted(_names(RANKING))


def test_the_best_of_every_class_comes_before_the_second_of_any():
    accepted, _ = selection.divided(RANKING, {"share": 0.25, "per_class": True})

    assert _names(accepted) == ["clean 0", "common 0", "rare 0"]


def test_stray_pixels_make_no_image_rare():
    stray = Predicted("stray", 0.99, (9999, 0, 1))

    accepted, _ = selection.divided([*RANKING, stray], {"share": 0.2, "per_class": True})

    assert _names(accepted) == ["stray", "common 0"]


def test_a_stage_names_the_score_that_accepts():
    sure, stable = Predicted("sure", 0.9, stability=0.1, reliability=0.5), Predicted("stable", 0.1, stability=0.9)

    for by, first in (("confidence", "sure"), ("stability", "stable"), ("reliability", "sure")):
        assert _names(selection.divided([stable, sure], {"share": 0.5, "by": by})[0]) == [first]
    with pytest.raises(ValueError, match=r"Expected a finite stability for .*, got None"):
        selection.divided(RANKING, {"share": 0.5, "by": "stability"})


NEARLY_CLEAN = [(9999, 1, 0), (10000, 0, 0)] * 3


@pytest.mark.parametrize("pixels", [[(10000, 0, 0)] * 5, NEARLY_CLEAN, [(0, 0, 0)] * 5])
def test_pseudo_labels_without_defects_are_refused_with_what_to_do(pixels):
    with pytest.raises(
        CollapsedError, match=r"show them on 5.00% of their pixels; got 0.00.% .* Label more images, lower"
    ):
        selection.refuse_collapse(pixels, {"share": 0.5}, known=0.05)


@pytest.mark.parametrize(
    ("pixels", "settings", "known"),
    [
        (NEARLY_CLEAN, {"may_be_background": True}, 0.05),
        (NEARLY_CLEAN, {}, 0.004),  # the labels show hardly more
        ([(9990, 10, 0)] * 5, {}, 0.05),
        ([(10000, 0, 0)] * 4, {}, 0.05),  # few images may be clean by chance
        ([], {}, 0.05),  # nothing was left to accept
    ],
)
def test_pseudo_labels_that_may_be_as_they_are_pass(pixels, settings, known):
    selection.refuse_collapse(pixels, settings, known=known)
