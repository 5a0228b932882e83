"""Figures as people read them."""

from collections.abc import Mapping

NO_BREAK = "\u00a0"
UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
SPLITS: Mapping[str, str] = {"train": "training", "val": "validation", "test": "test"}


def percent(share: float | None) -> str:
    """A share of one as percent with one decimal; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f}{NO_BREAK}%"


def points(difference: float | None) -> str:
    """A difference of two shares in percentage points, with its sign; a dash where there is none."""
    return "–" if difference is None else f"{100 * difference:+.1f}".replace("-", "−")


def count(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun: "1 image", "2,000 images"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """The two largest units: "3 minutes 5 seconds"; hours no longer count seconds."""
    if seconds is None:
        return "–"
    left = round(seconds)
    if left < 1:
        return "a moment"
    largest = next(i for i, (_, size) in enumerate(UNITS) if left >= size)
    parts = []
    for name, size in UNITS[largest : largest + 2]:
        number, left = divmod(left, size)
        if number:
            parts.append(count(number, name))
    return " ".join(parts)


def time_left(seconds: float | None) -> str:
    """An estimate, rounded as coarsely as it deserves: "about 4 minutes left"."""
    if seconds is None:
        return ""
    if seconds < 10:
        return "a few seconds left"
    if seconds < 50:
        return f"about {10 * round(seconds / 10)} seconds left"
    if seconds < 5400:
        return f"about {count(max(1, round(seconds / 60)), 'minute')} left"
    return f"about {count(round(seconds / 3600), 'hour')} left"


def over(split: str, images: int, *, background: bool = True) -> str:
    """What a mean IoU was taken over; a figure without it says little."""
    return f"{SPLITS[split]} split, {count(images, 'image')}, background {'included' if background else 'left out'}"
