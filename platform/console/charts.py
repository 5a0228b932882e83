"""Small charts as inline SVG: values in, markup out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from console.drawing import BOTTOM, HEIGHT, LEFT, SPARK_HEIGHT, SPARK_WIDTH, Frame, described, pixels, through
from console.words import percent

WIDTH = 520
RIGHT, TOP = 140, 14  # margins, for the names of the lines
MARKERS = ("circle", "diamond")  # a line is told by its marker and its name, never by colour alone


@dataclass(frozen=True)
class Point:
    """One value of a line; `title` is what the pointer shows."""

    x: float
    y: float
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A named line through points in the order of x."""

    name: str
    points: tuple[Point, ...]


def bar(share: float | None, *, title: str) -> SafeString:
    """A horizontal bar, `share` of 1 long; a missing value draws the empty track."""
    width = 0 if share is None else 100 * min(max(share, 0), 1)
    return format_html(
        '<svg class="chart-bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="track" width="100" height="8"/><rect class="fill" width="{}" height="8"/></svg>',
        title,
        pixels(width),
    )


def sparkline(curve: Sequence[Sequence[float]], *, title: str) -> SafeString:
    """A bare line through (x, y) pairs with its last point marked; nothing where there are fewer than two."""
    if len(curve) < 2:
        return SafeString()
    xs, ys = [x for x, _ in curve], [y for _, y in curve]
    frame = Frame((min(xs), max(xs)), (min(ys), max(ys)), (3, SPARK_WIDTH - 3), (SPARK_HEIGHT - 3, 3))
    places = [frame.at(x, y) for x, y in curve]
    return format_html(
        '<svg class="sparkline" viewBox="0 0 {} {}" role="img" aria-label="{}"><polyline points="{}"/>{}</svg>',
        SPARK_WIDTH,
        SPARK_HEIGHT,
        title,
        through(places),
        _mark(*places[-1], title=title, kind="circle"),
    )


def columns(counts: Sequence[int], *, title: str, names: Sequence[str]) -> SafeString:
    """A small histogram; `names` are what the pointer shows of each column."""
    if not any(counts):
        return SafeString()
    step = SPARK_WIDTH / len(counts)
    heights = [SPARK_HEIGHT * number / max(counts) for number in counts]
    bars = format_html_join(
        "",
        '<rect x="{}" y="{}" width="{}" height="{}"><title>{}: {}</title></rect>',
        (
            (pixels(at * step), pixels(SPARK_HEIGHT - height), pixels(step - 2), pixels(height), name, number)
            for at, (number, height, name) in enumerate(zip(counts, heights, names, strict=True))
        ),
    )
    return format_html(
        '<svg class="columns" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        SPARK_WIDTH,
        SPARK_HEIGHT,
        title,
        bars,
    )


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    ys: tuple[float, float] | None = None,
    notes: Mapping[float, str] | None = None,
) -> SafeString:
    """Lines of shares (y in 0..1, shown as percent) over counts; nothing where no line has a point.

    ys: what the axis spans, for charts that are compared; None: `tens_around` these lines.  notes: words below an x.
    """
    drawn = [line for line in lines if line.points]
    if not drawn:
        return SafeString()
    xs = sorted({point.x for line in drawn for point in line.points})
    ys = ys or tens_around([point.y for line in drawn for point in line.points])
    height = HEIGHT + 14 if notes else HEIGHT
    inset = 24 if notes else 12  # half of the widest words below an x
    frame = Frame((xs[0], xs[-1]), ys, (LEFT + inset, WIDTH - RIGHT - inset), (HEIGHT - BOTTOM, TOP))
    parts = [_grid(frame), _x_axis(frame, xs, x_label, notes or {}, height=height), *_lines(frame, drawn)]
    return described("line-chart", (WIDTH, height), title, "", parts)


def tens_around(values: Sequence[float]) -> tuple[float, float]:
    """The whole tens of percent around shares, at least one ten apart."""
    low, high = math.floor(10 * min(values)), math.ceil(10 * max(values))
    return (low / 10, high / 10) if high > low else (low / 10 - 0.1, high / 10)


def _grid(frame: Frame) -> SafeString:
    tens = range(round(10 * frame.ys[0]), round(10 * frame.ys[1]) + 1)
    heights = [(pixels(frame.at(frame.xs[0], ten / 10)[1]), 10 * ten) for ten in tens]
    return format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text class="tick" x="{}" y="{}" text-anchor="end" dominant-baseline="middle">{} %</text>',
        ((LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y, value) for y, value in heights),
    )


def _x_axis(frame: Frame, xs: Sequence[float], label: str, notes: Mapping[float, str], *, height: int) -> SafeString:
    told = _apart(frame, xs, least=56 if notes else 36)
    places = {x: pixels(frame.at(x, 0)[0]) for x in told}
    ticks = [(places[x], HEIGHT - BOTTOM + 17, f"{x:,.0f}") for x in told]
    ticks += [(places[x], HEIGHT - BOTTOM + 32, notes[x]) for x in told if x in notes]
    ticks.append((pixels((LEFT + WIDTH - RIGHT) / 2), height - 4, label))
    return format_html_join("", '<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>', ticks)


def _apart(frame: Frame, xs: Sequence[float], *, least: float) -> list[float]:
    """Those of the values whose words would not run into each other."""
    kept = [xs[0]]
    for x in xs[1:]:
        if frame.at(x, 0)[0] - frame.at(kept[-1], 0)[0] >= least:
            kept.append(x)
    return kept


def _lines(frame: Frame, lines: Sequence[Line]) -> list[SafeString]:
    """Each line with its marks, and its name beside the last one; names keep a line's height apart."""
    ends = sorted(range(len(lines)), key=lambda at: frame.at(0, lines[at].points[-1].y)[1])
    heights: dict[int, float] = {}
    for at in ends:
        y = frame.at(0, lines[at].points[-1].y)[1]
        heights[at] = max([y, *(other + 15 for other in heights.values())])
    return [_line(frame, line, at, name_y=heights[at]) for at, line in enumerate(lines)]


def _line(frame: Frame, line: Line, at: int, *, name_y: float) -> SafeString:
    places = [frame.at(point.x, point.y) for point in line.points]
    kind = MARKERS[at % len(MARKERS)]
    marks = [
        _mark(*place, title=point.title or percent(point.y), kind=kind)
        for place, point in zip(places, line.points, strict=True)
    ]
    return format_html(
        '<g class="line-{}"><polyline points="{}"/>{}<text x="{}" y="{}" dominant-baseline="middle">{}</text></g>',
        at,
        through(places),
        format_html_join("", "{}", ((mark,) for mark in marks)),
        pixels(places[-1][0] + 10),
        pixels(name_y),
        line.name,
    )


def _mark(x: float, y: float, *, title: str, kind: str) -> SafeString:
    if kind == "circle":
        return format_html('<circle cx="{}" cy="{}" r="4"><title>{}</title></circle>', pixels(x), pixels(y), title)
    corners = through([(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)])
    return format_html('<polygon points="{}"><title>{}</title></polygon>', corners, title)
