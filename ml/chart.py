"""The parts our pictures are made of, as SVG: a plane whose heights are shares, told in percent, and a legend."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np

COLOURS = ("#4363d8", "#e6194b", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 230, 20, 50
TITLE = 24  # above each of several pictures
LINE = 14  # of text


@dataclass(frozen=True)
class Plane:
    """From `left` to `right` of anything, from `low` to `high`, shares."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.left) / max(self.right - self.left, 1e-9)

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / max(self.high - self.low, 1e-9)

    def scales(self, ticks: Mapping[float, str], title: str) -> list[str]:
        """Percents beside it; below it what is said of some places, and of all of them."""
        return [
            *(
                f'<text x="{LEFT - 8}" y="{self.y(value) + 4:.1f}" text-anchor="end">{100 * value:.1f} %</text>'
                for value in np.linspace(self.low, self.high, 5).tolist()
            ),
            *(
                f'<text x="{self.x(place):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(said)}</text>'
                for place, said in ticks.items()
            ),
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(title)}</text>',
        ]

    def levels(self, said: Mapping[float, str]) -> list[str]:
        """Dashed lines by height, and what they are above their left ends, below each other where they lie close."""
        parts, free = [], 0.0
        for height in sorted(said, reverse=True):
            down = self.y(height)
            free = max(down - 4, free + LINE)
            parts.append(_dashed(LEFT, WIDTH - RIGHT, down, down))
            parts.append(f'<text x="{LEFT + 4}" y="{free:.1f}">{escape(said[height])}</text>')
        return parts

    def limit(self, place: float, said: str) -> list[str]:
        """A dashed line from top to bottom, and what it is."""
        across = self.x(place)
        text = f'<text x="{across:.1f}" y="{TOP - 6}" text-anchor="middle">{escape(said)}</text>'
        return [_dashed(across, across, TOP, HEIGHT - BOTTOM), text]

    def bar(self, across: float, ends: tuple[float, float], colour: str) -> str:
        """From one height to another, `across` in pixels."""
        low, high = (self.y(end) for end in ends)
        return f'<line x1="{across:.1f}" x2="{across:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>'

    def dots(self, across: float, heights: Sequence[float], *, mean: float, colour: str) -> list[str]:
        """A dot for each height and a line at their mean, `across` in pixels."""
        dots = [
            f'<circle cx="{across:.1f}" cy="{self.y(one):.1f}" r="3" fill="{colour}" fill-opacity="0.6"/>'
            for one in heights
        ]
        line = f'd="M{across - 6:.1f} {self.y(mean):.1f}h12" stroke="{colour}" stroke-width="2"'
        return [*dots, f"<path {line}/>"]


def legend(names: Sequence[str]) -> list[str]:
    """At the lower right, each in its colour."""
    return [
        f'<text x="{WIDTH - RIGHT + 8}" y="{HEIGHT - BOTTOM - 16 * (len(names) - number)}" '
        f'fill="{colour(number)}">{escape(name)}</text>'
        for number, name in enumerate(names)
    ]


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def picture(parts: Iterable[str], *, height: int = HEIGHT) -> str:
    """The parts on white."""
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
    ground = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([f'{opening}font-size="12">', ground, *parts, "</svg>\n"])


def below_each_other(pictures: Mapping[str, str]) -> str:
    """Pictures with their titles as one."""
    parts = []
    for number, (title, one) in enumerate(pictures.items()):
        top = number * (HEIGHT + TITLE)
        parts.append(f'<text x="{LEFT}" y="{top + TITLE - 8}" font-weight="bold">{escape(title)}</text>')
        parts.append(one.replace("<svg ", f'<svg y="{top + TITLE}" width="{WIDTH}" height="{HEIGHT}" ', 1))
    return picture(parts, height=len(pictures) * (HEIGHT + TITLE))


def _dashed(x1: float, x2: float, y1: float, y2: float) -> str:
    ends = f'x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="#555" stroke-dasharray="6 4"/>'
