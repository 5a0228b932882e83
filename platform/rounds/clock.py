"""The crontab of a campaign, in the time zone of the installation. Celery parses it; beat never sees it."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import ParseException, crontab
from django.conf import settings
from django.core.exceptions import ValidationError

HORIZON = timedelta(days=366 * 8)  # 29 February comes again within eight years


def parse(text: str) -> Any:
    """Celery's crontab, whose sets `minute`, `hour`, `day_of_week` ... its type stubs do not know.

    Raises:
        ValidationError: it cannot be read.
    """
    try:
        return crontab.from_string(" ".join(text.split()))
    except (ValueError, ParseException) as problem:
        raise ValidationError(
            f"Expected a crontab of five fields (minute hour day-of-month month day-of-week) such as '0 2 * * *', "
            f"got {text!r}: {problem}"
        ) from problem


def next_due(text: str, after: datetime) -> datetime:
    """The first moment past `after` at which the crontab strikes."""
    fields = parse(text)
    zone = ZoneInfo(settings.TIME_ZONE)
    today = after.astimezone(zone).date()
    for offset in range(HORIZON.days):
        day = today + timedelta(days=offset)
        if not _strikes_on(fields, day.isoweekday() % 7, day.day, day.month):
            continue
        for hour in sorted(fields.hour):
            for minute in sorted(fields.minute):
                moment = datetime.combine(day, time(hour, minute), tzinfo=zone).astimezone(UTC)
                if moment > after:
                    return moment
    raise ValidationError(f"The crontab {text!r} never strikes.")


def _strikes_on(fields: Any, weekday: int, day: int, month: int) -> bool:
    return weekday in fields.day_of_week and day in fields.day_of_month and month in fields.month_of_year


def in_words(moment: datetime, now: datetime) -> str:
    """`02:00` within a day of `now`, otherwise with its date."""
    local = moment.astimezone(ZoneInfo(settings.TIME_ZONE))
    return f"{local:%H:%M}" if moment - now < timedelta(days=1) else f"{local:%a %d %b, %H:%M}"
