import pytest

from console import words


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "a moment"),
        (1, "1 second"),
        (59.6, "1 minute"),
        (185, "3 minutes 5 seconds"),
        (3600, "1 hour"),
        (3725, "1 hour 2 minutes"),
        (90061, "1 day 1 hour"),
        (None, "–"),
    ],
)
def test_a_duration_names_its_two_largest_units(seconds, expected):
    assert words.duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (4, "a few seconds left"),
        (32, "about 30 seconds left"),
        (55, "about 1 minute left"),
        (200, "about 3 minutes left"),
        (5340, "about 89 minutes left"),
        (7300, "about 2 hours left"),
        (None, ""),
    ],
)
def test_an_estimate_is_as_coarse_as_it_deserves(seconds, expected):
    assert words.time_left(seconds) == expected


def test_a_share_is_shown_as_percent_with_one_decimal():
    assert words.percent(0.73149) == "73.1\u00a0%"
    assert words.percent(None) == "–"


def test_a_count_agrees_with_its_noun():
    assert words.count(1, "image") == "1 image"
    assert words.count(2000, "image") == "2,000 images"
    assert words.count(2, "image pass", "image passes") == "2 image passes"


def test_a_mean_iou_says_over_what_it_was_taken():
    assert words.over("test", 90) == "test split, 90 images, background included"
    assert words.over("val", 1, background=False) == "validation split, 1 image, background left out"
