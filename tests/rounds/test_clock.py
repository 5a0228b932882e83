from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError

from rounds import clock


@pytest.mark.parametrize(
    ("text", "after", "due"),
    [
        ("0 2 * * *", datetime(2026, 1, 1, 1, 59), datetime(2026, 1, 1, 2)),
        ("0 2 * * *", datetime(2026, 1, 1, 2), datetime(2026, 1, 2, 2)),
        ("*/15 8-9 * * *", datetime(2026, 1, 1, 9, 50), datetime(2026, 1, 2, 8)),
        ("0 2 * * 1", datetime(2026, 1, 1), datetime(2026, 1, 5, 2)),  # a Monday
        ("0 2 * * sun", datetime(2026, 1, 1), datetime(2026, 1, 4, 2)),
        ("0 0 29 2 *", datetime(2026, 1, 1), datetime(2028, 2, 29)),
    ],
)
def test_a_crontab_strikes_at_its_next_time(text, after, due):
    assert clock.next_due(text, after.replace(tzinfo=UTC)) == due.replace(tzinfo=UTC)


def test_a_crontab_is_in_the_time_zone_of_the_installation(settings):
    settings.TIME_ZONE = "Europe/Berlin"

    winter = clock.next_due("0 2 * * *", datetime(2026, 1, 1, 12, tzinfo=UTC))
    summer = clock.next_due("0 2 * * *", datetime(2026, 7, 1, 12, tzinfo=UTC))

    assert winter == datetime(2026, 1, 2, 1, tzinfo=UTC)
    assert summer == datetime(2026, 7, 2, 0, tzinfo=UTC)


def test_an_hour_that_comes_twice_strikes_once(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    first = clock.next_due("30 2 * * *", datetime(2026, 10, 24, 22, tzinfo=UTC))

    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert clock.next_due("30 2 * * *", first) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2 o'clock", "0 25 * * *", "0 2 * *", "* * 31 2 *"])
def test_what_is_no_crontab_is_refused_with_an_example(text):
    with pytest.raises(ValidationError, match="0 2"):
        clock.parse(text)
