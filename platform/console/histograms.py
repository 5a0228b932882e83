"""How the scores of masks lie, accepted and refused, and where the cut fell, as inline SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from console.drawing import BOTTOM, HEIGHT, LEFT, SPARK_HEIGHT, SPARK_WIDTH, Frame, described, pixels

WIDE = 1040  # a histogram has a page's width to itself


@dataclass(frozen=True)
class Bin:
    """How many scores in [low, high) were accepted and how many refused; the last bin holds `high` too."""

    low: float
    high: float
    accepted: int
    refused: int


@dataclass(frozen=True)
class Cut:
    """The lowest score that was accepted, of all or of one class; `name` says which, and its value."""

    value: float
    name: str
    colour: str = ""


def histogram(bins: Sequence[Bin], cuts: Sequence[Cut], *, title: str, told: str, x_label: str) -> SafeString:
    """Scores in bins of one width, accepted below refused, and where the cut is; nothing where there is no bin.

    cuts: one is a named line, several are lines with a dot of their colour, and the range between them is said.
    told: what a reader who does not see the chart should know of it.
    """
    if not bins:
        return SafeString()
    most = max(one.accepted + one.refused for one in bins)
    steps = _steps(most)
    frame = Frame((bins[0].low, bins[-1].high), (0, max(most, steps[-1])), (LEFT, WIDE - 12), (HEIGHT - BOTTOM, 34))
    parts = [_count_grid(frame, steps), *(_stack(frame, one) for one in bins), _score_axis(frame, x_label)]
    return described(
        "histogram",
        (WIDE, HEIGHT),
        title,
        told,
        [*parts, _cut(frame, cuts[0]) if len(cuts) == 1 else _cuts(frame, cuts)],
    )


def small_histogram(bins: Sequence[Bin], cut: float | None, *, title: str) -> SafeString:
    """The same without axes, for a row of a table; nothing where all bins are empty."""
    most = max((one.accepted + one.refused for one in bins), default=0)
    if not most:
        return SafeString()
    frame = Frame((bins[0].low, bins[-1].high), (0, most), (0, SPARK_WIDTH), (SPARK_HEIGHT, 4))
    accepted = [(one.low, one.high, 0, one.accepted) for one in bins]
    refused = [(one.low, one.high, one.accepted, one.accepted + one.refused) for one in bins]
    areas = (("accepted", _area(frame, accepted)), ("refused", _area(frame, refused)))
    bars = format_html_join("", '<path class="{}" d="{}"/>', areas)
    line = [] if cut is None else [_upright(frame, cut, top=0)]
    return described("histogram small", (SPARK_WIDTH, SPARK_HEIGHT), title, "", [bars, *line])


def _steps(most: int) -> list[int]:
    """Two to five round numbers up to about `most`, from 0 on."""
    step = next(size * 10**power for power in range(12) for size in (1, 2, 5) if most / (size * 10**power) < 4.5)
    return list(range(0, most + step // 2 + 1, step)) or [0]


def _count_grid(frame: Frame, steps: Sequence[int]) -> SafeString:
    heights = [(pixels(frame.at(0, step)[1]), f"{step:,}") for step in steps]
    left, right = frame.across
    return format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text class="tick" x="{}" y="{}" text-anchor="end" dominant-baseline="middle">{}</text>',
        ((left, right, y, y, left - 8, y, words) for y, words in heights),
    )


def _score_axis(frame: Frame, label: str) -> SafeString:
    """A number at every tenth, and what the scores are."""
    tenths = range(math.ceil(10 * frame.xs[0] - 1e-9), math.floor(10 * frame.xs[1] + 1e-9) + 1)
    ticks = [(pixels(frame.at(tenth / 10, 0)[0]), HEIGHT - BOTTOM + 17, f"{tenth / 10:.1f}") for tenth in tenths]
    ticks.append((pixels(sum(frame.across) / 2), HEIGHT - 4, label))
    return format_html_join("", '<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>', ticks)


def _stack(frame: Frame, one: Bin) -> SafeString:
    """Accepted below, refused above; the whole height shows the figures to the pointer."""
    left, ground = frame.at(one.low, 0)
    right, middle = frame.at(one.high, one.accepted)
    top = frame.at(one.low, one.accepted + one.refused)[1]
    width = max(right - left - 2, 0.5)
    bars = [("accepted", middle, ground - middle), ("refused", top, middle - top)]
    return format_html(
        '<g><title>{}</title>{}<rect class="whole" x="{}" y="{}" width="{}" height="{}"/></g>',
        f"{one.low:.3g} to {one.high:.3g}: {one.accepted:,} accepted, {one.refused:,} refused",
        format_html_join(
            "",
            '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>',
            (
                (kind, pixels(left + 1), pixels(y), pixels(width), pixels(height))
                for kind, y, height in bars if height > 0
            ),
        ),
        pixels(left),
        pixels(frame.down[1]),
        pixels(right - left),
        pixels(frame.down[0] - frame.down[1]),
    )  # fmt: skip


def _area(frame: Frame, boxes: Sequence[tuple[float, float, float, float]]) -> str:
    """Boxes of (low, high, from, to) as one path: hundreds of elements would be slow to write and to draw."""
    drawn = []
    for low, high, lower, upper in boxes:
        if upper > lower:
            (left, bottom), (right, top) = frame.at(low, lower), frame.at(high, upper)
            drawn.append(f"M{left:.1f} {bottom:.1f}V{top:.1f}H{right - 1:.1f}V{bottom:.1f}z")
    return "".join(drawn)


def _upright(frame: Frame, value: float, *, top: float) -> SafeString:
    x = pixels(frame.at(value, 0)[0])
    return format_html('<line class="cut" x1="{}" x2="{}" y1="{}" y2="{}"/>', x, x, pixels(top), pixels(frame.down[0]))


def _cut(frame: Frame, cut: Cut) -> SafeString:
    """A line through the whole drawing, named on the side where there is room."""
    x = frame.at(cut.value, 0)[0]
    is_left = x > sum(frame.across) / 2
    return format_html(
        '{}<text class="named" x="{}" y="16" text-anchor="{}">{}</text>',
        _upright(frame, cut.value, top=4),
        pixels(x - 6 if is_left else x + 6),
        "end" if is_left else "start",
        cut.name,
    )


def _cuts(frame: Frame, cuts: Sequence[Cut]) -> SafeString:
    """Lines with a dot each; what each is, the pointer shows."""
    if not cuts:
        return SafeString()
    values = [cut.value for cut in cuts]
    places = {cut: frame.at(cut.value, 0)[0] for cut in cuts}
    middle = (min(places.values()) + max(places.values())) / 2
    return format_html(
        '{}<text class="named" x="{}" y="11" text-anchor="middle">{}</text>',
        format_html_join(
            "",
            '<g class="one">{}<circle cx="{}" cy="23" r="5"{}><title>{}</title></circle></g>',
            (
                (
                    _upright(frame, cut.value, top=23),
                    pixels(x),
                    format_html(' style="fill: {}"', cut.colour) if cut.colour else "",
                    cut.name,
                )
                for cut, x in places.items()
            ),
        ),
        pixels(min(max(middle, LEFT + 70), WIDE - 80)),
        f"cuts {min(values):.3f} to {max(values):.3f}",
    )
