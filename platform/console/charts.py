"""Small charts as inline SVG: values in, markup out. Colours come from the style sheet, so both themes fit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from console.words import percent

WIDTH, HEIGHT = 520, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 140, 14, 40  # margins around the plotting area: axis labels, names of the lines
WIDE = 1040  # of a chart that has a page's width to itself
SPARK_WIDTH, SPARK_HEIGHT = 240, 44
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
        _place(width),
    )


def sparkline(curve: Sequence[Sequence[float]], *, title: str) -> SafeString:
    """A bare line through (x, y) pairs with its last point marked; nothing where there are fewer than two."""
    if len(curve) < 2:
        return SafeString()
    xs, ys = [x for x, _ in curve], [y for _, y in curve]
    frame = _Frame((min(xs), max(xs)), (min(ys), max(ys)), (3, SPARK_WIDTH - 3), (SPARK_HEIGHT - 3, 3))
    places = [frame.at(x, y) for x, y in curve]
    return format_html(
        '<svg class="sparkline" viewBox="0 0 {} {}" role="img" aria-label="{}"><polyline points="{}"/>{}</svg>',
        SPARK_WIDTH,
        SPARK_HEIGHT,
        title,
        _path(places),
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
            (_place(at * step), _place(SPARK_HEIGHT - height), _place(step - 2), _place(height), name, number)
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
    frame = _Frame((bins[0].low, bins[-1].high), (0, max(most, steps[-1])), (LEFT, WIDE - 12), (HEIGHT - BOTTOM, 34))
    parts = [_count_grid(frame, steps), *(_stack(frame, one) for one in bins), _score_axis(frame, x_label)]
    return _described(
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
    frame = _Frame((bins[0].low, bins[-1].high), (0, most), (0, SPARK_WIDTH), (SPARK_HEIGHT, 4))
    accepted = [(one.low, one.high, 0, one.accepted) for one in bins]
    refused = [(one.low, one.high, one.accepted, one.accepted + one.refused) for one in bins]
    areas = (("accepted", _area(frame, accepted)), ("refused", _area(frame, refused)))
    bars = format_html_join("", '<path class="{}" d="{}"/>', areas)
    line = [] if cut is None else [_upright(frame, cut, top=0)]
    return _described("histogram small", (SPARK_WIDTH, SPARK_HEIGHT), title, "", [bars, *line])


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
    frame = _Frame((xs[0], xs[-1]), ys, (LEFT + inset, WIDTH - RIGHT - inset), (HEIGHT - BOTTOM, TOP))
    parts = [_grid(frame), _x_axis(frame, xs, x_label, notes or {}, height=height), *_lines(frame, drawn)]
    return _described("line-chart", (WIDTH, height), title, "", parts)


def tens_around(values: Sequence[float]) -> tuple[float, float]:
    """The whole tens of percent around shares, at least one ten apart."""
    low, high = math.floor(10 * min(values)), math.ceil(10 * max(values))
    return (low / 10, high / 10) if high > low else (low / 10 - 0.1, high / 10)


@dataclass(frozen=True)
class _Frame:
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


def _place(value: float) -> str:
    return f"{value:.1f}"


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _described(kind: str, size: tuple[int, int], title: str, told: str, parts: Sequence[SafeString]) -> SafeString:
    return format_html(
        '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>',
        kind,
        *size,
        title,
        format_html("<desc>{}</desc>", told) if told else "",
        format_html_join("", "{}", ((part,) for part in parts)),
    )


def _steps(most: int) -> list[int]:
    """Two to five round numbers up to about `most`, from 0 on."""
    step = next(size * 10**power for power in range(12) for size in (1, 2, 5) if most / (size * 10**power) < 4.5)
    return list(range(0, most + step // 2 + 1, step)) or [0]


def _count_grid(frame: _Frame, steps: Sequence[int]) -> SafeString:
    heights = [(_place(frame.at(0, step)[1]), f"{step:,}") for step in steps]
    left, right = frame.across
    return format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text class="tick" x="{}" y="{}" text-anchor="end" dominant-baseline="middle">{}</text>',
        ((left, right, y, y, left - 8, y, words) for y, words in heights),
    )


def _score_axis(frame: _Frame, label: str) -> SafeString:
    """A number at every tenth, and what the scores are."""
    tenths = range(math.ceil(10 * frame.xs[0] - 1e-9), math.floor(10 * frame.xs[1] + 1e-9) + 1)
    ticks = [(_place(frame.at(tenth / 10, 0)[0]), HEIGHT - BOTTOM + 17, f"{tenth / 10:.1f}") for tenth in tenths]
    ticks.append((_place(sum(frame.across) / 2), HEIGHT - 4, label))
    return format_html_join("", '<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>', ticks)


def _stack(frame: _Frame, one: Bin) -> SafeString:
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
                (kind, _place(left + 1), _place(y), _place(width), _place(height))
                for kind, y, height in bars if height > 0
            ),
        ),
        _place(left),
        _place(frame.down[1]),
        _place(right - left),
        _place(frame.down[0] - frame.down[1]),
    )  # fmt: skip


def _area(frame: _Frame, boxes: Sequence[tuple[float, float, float, float]]) -> str:
    """Boxes of (low, high, from, to) as one path: hundreds of elements would be slow to write and to draw."""
    drawn = []
    for low, high, lower, upper in boxes:
        if upper > lower:
            (left, bottom), (right, top) = frame.at(low, lower), frame.at(high, upper)
            drawn.append(f"M{left:.1f} {bottom:.1f}V{top:.1f}H{right - 1:.1f}V{bottom:.1f}z")
    return "".join(drawn)


def _upright(frame: _Frame, value: float, *, top: float) -> SafeString:
    x = _place(frame.at(value, 0)[0])
    return format_html('<line class="cut" x1="{}" x2="{}" y1="{}" y2="{}"/>', x, x, _place(top), _place(frame.down[0]))


def _cut(frame: _Frame, cut: Cut) -> SafeString:
    """A line through the whole drawing, named on the side where there is room."""
    x = frame.at(cut.value, 0)[0]
    is_left = x > sum(frame.across) / 2
    return format_html(
        '{}<text class="named" x="{}" y="16" text-anchor="{}">{}</text>',
        _upright(frame, cut.value, top=4),
        _place(x - 6 if is_left else x + 6),
        "end" if is_left else "start",
        cut.name,
    )


def _cuts(frame: _Frame, cuts: Sequence[Cut]) -> SafeString:
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
                    _place(x),
                    format_html(' style="fill: {}"', cut.colour) if cut.colour else "",
                    cut.name,
                )
                for cut, x in places.items()
            ),
        ),
        _place(min(max(middle, LEFT + 70), WIDE - 80)),
        f"cuts {min(values):.3f} to {max(values):.3f}",
    )


def _grid(frame: _Frame) -> SafeString:
    tens = range(round(10 * frame.ys[0]), round(10 * frame.ys[1]) + 1)
    heights = [(_place(frame.at(frame.xs[0], ten / 10)[1]), 10 * ten) for ten in tens]
    return format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text class="tick" x="{}" y="{}" text-anchor="end" dominant-baseline="middle">{} %</text>',
        ((LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y, value) for y, value in heights),
    )


def _x_axis(frame: _Frame, xs: Sequence[float], label: str, notes: Mapping[float, str], *, height: int) -> SafeString:
    told = _apart(frame, xs, least=56 if notes else 36)
    places = {x: _place(frame.at(x, 0)[0]) for x in told}
    ticks = [(places[x], HEIGHT - BOTTOM + 17, f"{x:,.0f}") for x in told]
    ticks += [(places[x], HEIGHT - BOTTOM + 32, notes[x]) for x in told if x in notes]
    ticks.append((_place((LEFT + WIDTH - RIGHT) / 2), height - 4, label))
    return format_html_join("", '<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>', ticks)


def _apart(frame: _Frame, xs: Sequence[float], *, least: float) -> list[float]:
    """Those of the values whose words would not run into each other."""
    kept = [xs[0]]
    for x in xs[1:]:
        if frame.at(x, 0)[0] - frame.at(kept[-1], 0)[0] >= least:
            kept.append(x)
    return kept


def _lines(frame: _Frame, lines: Sequence[Line]) -> list[SafeString]:
    """Each line with its marks, and its name beside the last one; names keep a line's height apart."""
    ends = sorted(range(len(lines)), key=lambda at: frame.at(0, lines[at].points[-1].y)[1])
    heights: dict[int, float] = {}
    for at in ends:
        y = frame.at(0, lines[at].points[-1].y)[1]
        heights[at] = max([y, *(other + 15 for other in heights.values())])
    return [_line(frame, line, at, name_y=heights[at]) for at, line in enumerate(lines)]


def _line(frame: _Frame, line: Line, at: int, *, name_y: float) -> SafeString:
    places = [frame.at(point.x, point.y) for point in line.points]
    kind = MARKERS[at % len(MARKERS)]
    marks = [
        _mark(*place, title=point.title or percent(point.y), kind=kind)
        for place, point in zip(places, line.points, strict=True)
    ]
    return format_html(
        '<g class="line-{}"><polyline points="{}"/>{}<text x="{}" y="{}" dominant-baseline="middle">{}</text></g>',
        at,
        _path(places),
        format_html_join("", "{}", ((mark,) for mark in marks)),
        _place(places[-1][0] + 10),
        _place(name_y),
        line.name,
    )


def _mark(x: float, y: float, *, title: str, kind: str) -> SafeString:
    if kind == "circle":
        return format_html('<circle cx="{}" cy="{}" r="4"><title>{}</title></circle>', _place(x), _place(y), title)
    corners = _path([(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)])
    return format_html('<polygon points="{}"><title>{}</title></polygon>', corners, title)
