"""What charts are drawn with: where values lie, and the SVG around them. Colours come from the style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

HEIGHT = 230
LEFT, BOTTOM = 52, 40  # margins around the plotting area, for the labels of the axes
SPARK_WIDTH, SPARK_HEIGHT = 240, 44


@dataclass(frozen=True)
class Frame:
    """Which values lie where: ranges of the data, and of the drawing (y runs downwards)."""

    xs: tuple[float, float]
    ys: tuple[float, float]
    across: tuple[float, float]
    down: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        return _between(x, self.xs, self.across), _between(y, self.ys, self.down)


def _between(value: float, data: tuple[float, float], drawing: tuple[float, float]) -> float:
    """A range of one value lies in the middle of the drawing."""
    share = 0.5 if data[0] == data[1] else (value - data[0]) / (data[1] - data[0])
    return drawing[0] + share * (drawing[1] - drawing[0])


def pixels(value: float) -> str:
    """A coordinate as an attribute."""
    return f"{value:.1f}"


def through(places: Sequence[tuple[float, float]]) -> str:
    """The points of a line as an attribute."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def described(kind: str, size: tuple[int, int], title: str, told: str, parts: Sequence[SafeString]) -> SafeString:
    """A drawing of these parts.  told: what a reader who does not see it should know."""
    return format_html(
        '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>',
        kind,
        *size,
        title,
        format_html("<desc>{}</desc>", told) if told else "",
        format_html_join("", "{}", ((part,) for part in parts)),
    )
