"""A campaign's learning curve: what people's labels alone gave, and what a round came to with more than these."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from console.charts import Line, Point, line_chart, tens_around
from console.tables import SHOWN_SPLITS, ModelRow, RoundRow
from console.words import SPLITS, count, percent
from console.words import points as in_points
from rounds.models import Round

ALONE, PSEUDO, POOL = "labels alone", "with pseudo-labels", "labels and the pool"


@dataclass(frozen=True)
class Turn:
    """A round's first model that saw labels alone, and its last one where that saw more.

    labels: that both were trained on.  pseudo: pseudo-labels that the last one was trained on.
    """

    round: Round
    labels: int
    pseudo: int
    models: dict[str, ModelRow]  # by ALONE, and PSEUDO or POOL


@dataclass(frozen=True)
class Panel:
    """The curve on one split, over so many images."""

    split: str
    images: int
    chart: SafeString


@dataclass(frozen=True)
class Row:
    """A round in the table; cells: for each panel, what each of the columns holds."""

    turn: Turn
    cells: list[str]


@dataclass(frozen=True)
class Curve:
    """The panels and the same as figures. columns: of each panel.  pseudo: whether a model saw pseudo-labels."""

    panels: list[Panel]
    columns: list[str]
    rows: list[Row]
    pseudo: bool


def learning_curve(rows: Sequence[RoundRow]) -> Curve | None:
    """From the first round on that was measured; None before.

    Models distilled for the line are left out: a smaller network would look like a worse round.
    """
    turns = [turn for row in rows if (turn := _turn(row))]
    series = [name for name in (ALONE, PSEUDO, POOL) if any(name in turn.models for turn in turns)]
    lines = {split: [_line(name, turns, split) for name in reversed(series)] for split in SHOWN_SPLITS}
    measured = {split: found for split, found in lines.items() if any(line.points for line in found)}
    if not measured:
        return None
    ys = tens_around([point.y for found in measured.values() for line in found for point in line.points])
    notes: dict[float, str] = {turn.labels: f"+ {turn.pseudo:,}" for turn in turns if turn.pseudo}
    return Curve(
        panels=[_panel(split, _images(turns, split), found, ys, notes) for split, found in measured.items()],
        columns=[*series, "added"] if len(series) > 1 else series,
        rows=[Row(turn, [cell for split in measured for cell in _cells(turn, series, split)]) for turn in turns],
        pseudo=PSEUDO in series,
    )


def _turn(row: RoundRow) -> Turn | None:
    """None where nothing was measured."""
    trained = [one for one in row.models if not one.distilled and one.labelled is not None]
    models: dict[str, ModelRow] = {}
    for one in trained:
        if _name(one) == ALONE:
            models.setdefault(ALONE, one)
    if trained:
        models.setdefault(_name(trained[-1]), trained[-1])
    if not any(any(one.evaluations) for one in models.values()):
        return None
    return Turn(row.round, trained[-1].labelled or 0, trained[-1].pseudo or 0, models)


def _name(model: ModelRow) -> str:
    return PSEUDO if model.pseudo else POOL if model.pool else ALONE


def _line(name: str, turns: Sequence[Turn], split: str) -> Line:
    found = [(turn, miou) for turn in turns if (miou := _miou(turn, name, split)) is not None]
    return Line(name, tuple(Point(turn.labels, miou, _told(turn, name, split, miou)) for turn, miou in found))


def _told(turn: Turn, name: str, split: str, miou: float) -> str:
    pseudo = f" and {count(turn.pseudo, 'pseudo-label')}" if name == PSEUDO else ""
    what = f"{count(turn.labels, 'label')}{pseudo}{' and the pool' if name == POOL else ''}"
    return f"round {turn.round.number}: {SPLITS[split]} {percent(miou)} with {what}"


def _miou(turn: Turn, name: str, split: str) -> float | None:
    return turn.models[name].miou(split) if name in turn.models else None


def _images(turns: Sequence[Turn], split: str) -> int:
    """Of the latest round that was measured on it."""
    at = SHOWN_SPLITS.index(split)
    found = [one.evaluations[at] for turn in turns for one in turn.models.values()]
    return [one.images for one in found if one][-1]


def _panel(split: str, images: int, lines: Sequence[Line], ys: tuple[float, float], notes: dict[float, str]) -> Panel:
    title = f"Mean IoU on the {SPLITS[split]} split over labels"
    x_label = "labels, + pseudo-labels" if notes else "labels"
    return Panel(SPLITS[split], images, line_chart(lines, title=title, x_label=x_label, ys=ys, notes=notes))


def _cells(turn: Turn, series: Sequence[str], split: str) -> list[str]:
    """The mIoU of each of the series and, where there are two, how many points the second is ahead."""
    found = [_miou(turn, name, split) for name in series]
    cells = [percent(one) for one in found]
    if len(found) < 2:
        return cells
    first, last = found[0], found[-1]
    return [*cells, in_points(None if first is None or last is None else last - first)]
