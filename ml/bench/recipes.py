"""Recipes against each other by share of labels: simulated campaigns of one round, a folder of them for each share.

What is finished is not computed again: calls of any length, as many as it takes, share the work.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml import chart
from ml.bench import campaigns
from ml.simulation_report import around, recipe_and_strategy, trained_with

_ASIDE = 24  # pixels from one recipe to the next
_PICTURE = "![Every seed of each recipe, by share of labels](recipes.svg)"


def measure(
    folder: Path, work: Path, ratios: Sequence[str], *, recipes: Sequence[str], told: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The report of each share's campaigns by the share, JSON-ready: all there are, after each share.

    ratios: of the training images, as 1/8; drawn at random over scenes.  told: further words to `simulate`.
    """
    reports: dict[str, Any] = {}
    for ratio in ratios:
        reports[ratio] = campaigns.report(work, f"ratio-{ratio.replace('/', '-')}", [
            str(folder), "--recipes", *recipes, "--acquisitions", "random_scenes", "--budgets", ratio,
            "--title", f"Recipes with {ratio} of the labels", *told,
        ])  # fmt: skip
        yield dict(reports)


def table(reports: dict[str, Any]) -> str:
    """The figures as a page in Markdown."""
    parts = ["# Recipes by share of labels"], _how(reports), _rows(reports), _pairs(reports), [_PICTURE]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def picture(reports: dict[str, Any]) -> str:
    """As SVG: for each share of labels every seed of each recipe as a dot, their means as lines, dashed all labels."""
    full = next(iter(reports.values()))["full_miou"]
    heights = [height for told in reports.values() for arm in told["arms"] for (height,) in arm["miou"]]
    plane = chart.Plane(-0.5, len(reports) - 0.5, min(*heights, full), max(*heights, full))
    ticks: dict[float, str] = {place: _labels(ratio, told) for place, (ratio, told) in enumerate(reports.items())}
    parts = [*plane.levels({full: "all labels, supervised"}), *plane.scales(ticks, "labels")]
    for place, told in enumerate(reports.values()):
        for number, arm in enumerate(told["arms"]):
            across = plane.x(place) + _ASIDE * (number - (len(told["arms"]) - 1) / 2)
            seeds = [height for (height,) in arm["miou"]]
            parts += plane.dots(across, seeds, mean=arm["mean"][0], colour=chart.colour(number))
    # All shares have the same recipes, in the same order.
    recipes = [recipe_and_strategy(arm["name"])[0] for arm in next(iter(reports.values()))["arms"]]
    return chart.picture([*parts, *chart.legend(recipes)])


def _how(reports: dict[str, Any]) -> Iterator[str]:
    told = next(iter(reports.values()))
    images, scenes = told["images"], told["scenes"]
    yield f"`python -m ml bench recipes`, commit {', '.join(told['commit'])}, seeds {told['seeds']};"
    yield f"{told['data']}; {told['split']}: {images['train']} training images of {scenes['train']} scenes,"
    yield f"{images['test']} test images of {scenes['test']}; {told['hardware']}."
    yield f"Training settings: {trained_with(told)}."
    yield f"Labels are drawn over scenes: an image of each of the {scenes['train']} before a second one of any."
    yield "Test mIoU with background, percent: mean over seeds and half of its 95 % interval (Student's t)."
    whole = around(told["full_miou"], told["full_half_width"])
    yield f"Last weights; test decided nothing. All labels, supervised: {whole}."


def _rows(reports: dict[str, Any]) -> Iterator[str]:
    yield "| labels | recipe | mIoU | image passes |"
    yield "|---|---|---|---|"
    for ratio, told in reports.items():
        for arm in told["arms"]:
            figure = around(arm["mean"][0], arm["half_width"][0])
            recipe, _ = recipe_and_strategy(arm["name"])
            yield f"| {_labels(ratio, told)} | {recipe} | {figure} | {arm['image_passes']:,} |"


def _labels(ratio: str, told: dict[str, Any]) -> str:
    """A share with how many labels it is; a number stays one."""
    count = str(told["arms"][0]["budgets"][0])
    return count if ratio == count else f"{ratio} ({count})"


def _pairs(reports: dict[str, Any]) -> Iterator[str]:
    yield "Differences in points; p by an exact sign-flip test over paired seeds, corrected within a share (Holm)."
    yield ""
    yield "| labels | | difference | p corrected |"
    yield "|---|---|---|---|"
    for ratio, told in reports.items():
        for pair in told["pairs"]:
            names = " - ".join(recipe_and_strategy(pair[which])[0] for which in ("first", "second"))
            yield f"| {ratio} | {names} | {100 * pair['difference']:+.1f} | {pair['p_holm']:.3f} |"
