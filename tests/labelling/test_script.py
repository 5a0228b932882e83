import pytest

from labelling import script

CLASSES = ["scratch", "patch"]


@pytest.fixture
def regions(drawn):
    """Regions of a prediction, as the editor shows them."""
    return lambda mask: [{key: value for key, value in one.items() if key != "origin"} for one in drawn(mask)]


def test_a_right_prediction_is_submitted_untouched(regions, truth):
    answer, seconds = script.corrected(regions(truth(1)), truth(1), CLASSES)

    assert [one["origin"] for one in answer] == ["prediction", "prediction"]
    assert [one["value"] for one in answer] == [one["value"] for one in regions(truth(1))]
    assert seconds == script.LOOKING


def test_a_wrong_region_is_redrawn_and_a_missing_one_drawn(regions, truth):
    shown = regions(truth(0))
    assert [one["value"]["brushlabels"] for one in shown] == [["scratch"]]

    answer, seconds = script.corrected(shown, truth(1), CLASSES)

    assert [one["origin"] for one in answer] == ["prediction-changed", "manual"]
    assert [one["value"] for one in answer] == [one["value"] for one in regions(truth(1))]
    assert seconds == script.LOOKING + script.CORRECTING + script.DRAWING


def test_what_is_not_there_is_erased(regions, truth):
    answer, _ = script.corrected(regions(truth(1)), truth(4), CLASSES)

    assert answer == []
