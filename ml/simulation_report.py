"""What simulated campaigns came to: a table, the same as JSON, and a picture (numpy only)."""

import itertools
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml import chart
from ml import learning_curves as curves
from ml.simulation import FULL, Cell, Plan, Point, points_of

REACHED = 0.95  # of what all labels give
AND = " + "  # in the name of an arm


@dataclass(frozen=True)
class Arm:
    """A recipe with an acquisition: heights (seeds, budgets) of test mIoU."""

    name: str
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    heights: curves.Floats
    passes: int  # mean over seeds, of all rounds


def write(plan: Plan, out: Path, *, title: str) -> Path:
    """Leave report.json, report.md and curves.svg in OUT; the path of the table."""
    arms, full = _arms(plan, out)
    told = {**_facts(plan, out), **_figures(arms, full)}
    (out / "report.json").write_text(json.dumps(told, indent=1))
    (out / "curves.svg").write_text(picture(arms, told["full_miou"]))
    (out / "report.md").write_text(_markdown(told, title))
    return out / "report.md"


def _arms(plan: Plan, out: Path) -> tuple[list[Arm], list[float]]:
    groups: dict[tuple[str, str], list[tuple[Cell, list[Point]]]] = defaultdict(list)
    for cell in sorted(plan.cells, key=lambda one: one.seed):
        groups[cell.recipe, cell.acquisition].append((cell, points_of(out, cell)))
    arms = [
        Arm(
            name=f"{recipe}{AND}{acquisition}",
            seeds=tuple(cell.seed for cell, _ in group), budgets=group[0][0].budgets,
            heights=np.array([[point.miou for point in points] for _, points in group]),
            passes=round(float(np.mean([sum(point.image_passes for point in points) for _, points in group]))),
        )
        for (recipe, acquisition), group in groups.items() if recipe != FULL
    ]  # fmt: skip
    full = [points[-1].miou for (recipe, _), group in groups.items() if recipe == FULL for _, points in group]
    return arms, full


def _facts(plan: Plan, out: Path) -> dict[str, Any]:
    points = [point for cell in plan.cells for point in points_of(out, cell)]
    return {
        "data": Path(plan.folder).name,
        "split": plan.split,
        "images": {"train": len(plan.train), "test": len(plan.test)},
        "scenes": {
            split: sum(bool(held & set(scene)) for scene in plan.scenes)
            for split, held in {"train": set(plan.train), "test": set(plan.test)}.items()
        },
        "settings": json.loads(plan.settings),
        "passes": plan.passes,
        "seeds": sorted({cell.seed for cell in plan.cells}),
        "commit": sorted({point.commit for point in points}),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores; {', '.join(sorted({p.device for p in points}))}",
        "image_passes": sum(point.image_passes for point in points),
        "seconds": round(sum(point.seconds for point in points)),
    }


def recipe_and_strategy(arm: str) -> tuple[str, str]:
    """What the name of an arm is made of."""
    recipe, _, strategy = arm.partition(AND)
    return recipe, strategy


def _figures(arms: list[Arm], full: list[float]) -> dict[str, Any]:
    reference = float(np.mean(full))
    pairs = list(itertools.combinations(arms, 2))
    differences = [[_area(a, row) - _area(b, row) for row in range(len(a.seeds))] for a, b in pairs]
    rng = np.random.default_rng(0)
    chances = [curves.sign_flip(one, rng) for one in differences]
    return {
        "full": full,
        "full_miou": reference,
        "full_half_width": number(curves.half_width(np.array(full))),
        "arms": [_arm(one, reference) for one in arms],
        "pairs": [
            {"first": a.name, "second": b.name, "difference": float(np.mean(one)), "p": p, "p_holm": corrected}
            for (a, b), one, p, corrected in zip(pairs, differences, chances, curves.holm(chances), strict=True)
        ],
    }


def _arm(one: Arm, reference: float) -> dict[str, Any]:
    mean = one.heights.mean(axis=0)
    areas = {log: np.array([_area(one, row, log=log) for row in range(len(one.seeds))]) for log in (False, True)}
    return {
        "name": one.name,
        "seeds": one.seeds,
        "budgets": one.budgets,
        "miou": one.heights.tolist(),
        "mean": mean.tolist(),
        "half_width": [number(curves.half_width(column)) for column in one.heights.T],
        "area": float(areas[False].mean()),
        "area_half_width": number(curves.half_width(areas[False])),
        "area_log": float(areas[True].mean()),
        "labels_to_95": curves.labels_to(one.budgets, mean.tolist(), REACHED * reference),
        "image_passes": one.passes,
    }


def _area(one: Arm, row: int, *, log: bool = False) -> float:
    return curves.area(one.budgets, one.heights[row].tolist(), log=log)


def number(value: float) -> float | None:
    """The value as JSON takes it."""
    return None if np.isnan(value) else value


def _markdown(told: dict[str, Any], title: str) -> str:
    lines = [f"# {title}", "", _how(told), "", *_heights(told), "", "![Learning curves](curves.svg)", "", *_areas(told)]
    if told["pairs"]:
        lines += ["", *_differences(told)]
    return "\n".join(lines) + "\n"


def _how(told: dict[str, Any]) -> str:
    images, scenes = told["images"], told["scenes"]
    return (
        f"Data: {told['data']}; {told['split']}: {images['train']} training images of {scenes['train']} scenes, "
        f"{images['test']} test images of {scenes['test']}. Seeds {', '.join(map(str, told['seeds']))}, commit "
        f"{', '.join(told['commit'])}, {told['hardware']}. Training settings: {trained_with(told)}. "
        f"{told['image_passes']:,} image passes, {told['seconds']:,} s of training and prediction (steps that cells "
        "share counted for each). Last weights; test decided nothing."
    )


def _heights(told: dict[str, Any]) -> Iterator[str]:
    budgets = told["arms"][0]["budgets"]
    yield "Test mIoU with background, one confusion matrix over the split, percent: mean over seeds and half of its"
    yield "95 % interval (Student's t)."
    yield ""
    yield f"| labels | {' | '.join(map(str, budgets))} |"
    yield f"|---|{'---|' * len(budgets)}"
    for arm in told["arms"]:
        cells = (around(mean, half) for mean, half in zip(arm["mean"], arm["half_width"], strict=True))
        yield f"| {arm['name']} | {' | '.join(cells)} |"
    full = around(told["full_miou"], told["full_half_width"])
    yield f"| all {told['images']['train']} labels, supervised | {full} |{' |' * (len(budgets) - 1)}"


def _areas(told: dict[str, Any]) -> Iterator[str]:
    yield "| | area under the curve | over log labels | labels to 95 % of full | image passes |"
    yield "|---|---|---|---|---|"
    for arm in told["arms"]:
        area = around(arm["area"], arm["area_half_width"])
        yield (f"| {arm['name']} | {area} | {100 * arm['area_log']:.1f} | {_labels(arm)} | {arm['image_passes']:,} |")


def _differences(told: dict[str, Any]) -> Iterator[str]:
    seeds, pairs = len(told["seeds"]), told["pairs"]
    yield "Differences in area, in points. p: exact sign-flip test, two-sided, paired over seeds (not below"
    yield f"{2 / 2**seeds:.3g} with {seeds}); then corrected for {len(pairs)} comparisons (Holm)."
    yield ""
    yield "| | difference | p | p corrected |"
    yield "|---|---|---|---|"
    for pair in pairs:
        yield (
            f"| {pair['first']} - {pair['second']} | {100 * pair['difference']:+.1f} | {pair['p']:.3f} | "
            f"{pair['p_holm']:.3f} |"
        )


def trained_with(told: dict[str, Any]) -> str:
    """The training settings of a report, in words."""
    settings = json.dumps(told["settings"]) if told["settings"] else "the recipes' own"
    if told["passes"] is None:
        return settings
    return f"{settings}, as long as makes {told['passes']:,} image passes of every round"


def around(mean: float, half: float | None) -> str:
    """A share in percent, and half of its interval where there is one."""
    return f"{100 * mean:.1f}" + ("" if half is None else f" ± {100 * half:.1f}")


def _labels(one: dict[str, Any]) -> str:
    needed = one["labels_to_95"]
    if needed is None:
        return f"not with {one['budgets'][-1]}"
    return f"{needed:.0f}" if needed > one["budgets"][0] else f"at most {needed:.0f}"


def picture(arms: Sequence[Arm], full: float, *, goal: float | None = None) -> str:
    """Learning curves as SVG, with their intervals, and dashed what all labels give and the part of it to be reached.

    goal: the labels by which one of them is to reach that.
    """
    levels = {full: "all labels", REACHED * full: f"{100 * REACHED:.0f} % of that"}
    lows = [mean - _half(column) for one in arms for mean, column in _columns(one)]
    highs = [mean + _half(column) for one in arms for mean, column in _columns(one)]
    budgets = arms[0].budgets
    plane = chart.Plane(budgets[0], budgets[-1], min(*lows, *levels), max(*highs, *levels))
    parts = plane.levels(levels)
    if goal and budgets[0] <= goal <= budgets[-1]:
        parts += plane.limit(goal, f"goal: {goal:.0f}")
    parts += plane.scales({budget: str(budget) for budget in budgets}, "labels")
    for number, one in enumerate(arms):
        colour = chart.colour(number)
        points = [(plane.x(b), mean, _half(column)) for b, (mean, column) in zip(budgets, _columns(one), strict=True)]
        line = " ".join(f"{across:.1f},{plane.y(mean):.1f}" for across, mean, _ in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        # Side by side, or those of one budget would hide each other.
        parts += [plane.bar(across + 2 * number, (mean - half, mean + half), colour) for across, mean, half in points]
    return chart.picture([*parts, *chart.legend([one.name for one in arms])])


def _columns(one: Arm) -> list[tuple[float, curves.Floats]]:
    return [(float(column.mean()), column) for column in one.heights.T]


def _half(column: curves.Floats) -> float:
    return number(curves.half_width(column)) or 0.0
