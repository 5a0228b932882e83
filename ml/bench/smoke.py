"""Every recipe from end to end on generated surfaces, in minutes: whether the code paths hold, nothing of quality."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml import planning, simulate, synthetic
from ml import spec as specs
from ml.bench import machine
from ml.device import choose
from ml.simulation import FULL, PLAN, Cell, Plan, points_of, recipe_of

SEED = 0
IMAGES, SIZE = 40, 64  # of the data set; pixels
BUDGETS = (6, 9)  # labels of two rounds: the second begins with images that the first one has asked for
TRAIN = {
    "network": {"name": "half_unet", "channels": 1, "width": 4}, "encoder_weights": None, "head_rate": 1.0,
    "steps": 6, "batch": 2, "crop": SIZE,
}  # fmt: skip


def measure(recipes: Sequence[str]) -> dict[str, Any]:
    """Image passes and seconds of each recipe's rounds, JSON-ready."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "surfaces", Path(place) / "out"
        synthetic.generate(folder, images=IMAGES, size=SIZE, seed=SEED)
        simulate.run(simulate.parsed([
            str(folder), "--out", str(out), "--recipes", *recipes, "--acquisitions", "stratified_entropy",
            "--budgets", *map(str, BUDGETS), "--seeds", str(SEED), "--train", json.dumps(TRAIN), "--accept-background",
        ]))  # fmt: skip
        plan = specs.read(Plan, out, PLAN)
        found = {cell.recipe: _figures(plan, cell, out) for cell in plan.cells if cell.recipe != FULL}
    return {
        "machine": machine.described(choose(0)),
        "measured": {"images": IMAGES, "size": SIZE, "labels": BUDGETS, "seed": SEED, "train": TRAIN},
        "seconds": time.perf_counter() - began,
        "recipes": found,
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as a page in Markdown."""
    on, told = figures["machine"], figures["measured"]
    lines = [
        "# Every recipe from end to end",
        "",
        (
            f"`python -m ml bench smoke`, commit {on['commit']}, seed {told['seed']}; {on['processor']}, "
            f"{on['device']}, {on['precision']}. {told['images']} generated surfaces of {told['size']} pixels, two "
            f"rounds with {' and '.join(map(str, told['labels']))} labels, {told['train']['steps']} steps a training "
            f"of a tiny network: the code paths, and nothing about quality. {figures['seconds']:.0f} s in all."
        ),
        "",
        "| recipe | image passes, planned | counted | seconds |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {one['planned']:,} | {one['image_passes']:,} | {one['seconds']:.1f} |"
        for name, one in figures["recipes"].items()
    ]
    return "\n".join(lines) + "\n"


def _figures(plan: Plan, cell: Cell, out: Path) -> dict[str, Any]:
    points = points_of(out, cell)
    planned = [
        planning.image_passes(recipe_of(plan, cell, labels=labels), labels=labels, pool=len(plan.train) - labels)
        for labels in cell.budgets
    ]
    return {
        "planned": sum(sum(one.values()) for one in planned),
        "image_passes": sum(point.image_passes for point in points),
        "seconds": sum(point.seconds for point in points),
    }
