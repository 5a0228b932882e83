"""Simulated campaigns: recipe x acquisition x seed over growing budgets, on images whose masks are known, no server.

A cell is such a campaign: a folder in OUT/cells with a file for each budget, a point of its learning curve. What its
rounds compute lies in OUT/steps (ml.computed). Any number of processes may work on one OUT (ml.simulated_rounds).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml import acquisition, planning
from ml import spec as specs
from ml.recipes import frozen_copy
from ml.spec import SpecError

PLAN = "plan.json"
FULL = "full"  # the recipe's name of the cells that train on all labels at once, as `supervised` does


@dataclass(frozen=True)
class Cell:
    """A campaign: labels grow to each of the budgets in turn."""

    recipe: str
    acquisition: str
    seed: int
    budgets: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.recipe}-{self.acquisition}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What all cells share, and which there are. Images are named relative to `folder`."""

    folder: str
    masks: str
    classes: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    held_out: tuple[str, ...]
    scenes: tuple[tuple[str, ...], ...]
    settings: str  # JSON: training settings over the recipes' own
    split: str  # where it is from, in words
    cells: tuple[Cell, ...]
    accept_background: bool = False  # pseudo-labels may show hardly a defect
    passes: int | None = None  # image passes of every round's trainings together; None = as the recipes have it


@dataclass(frozen=True)
class Asked:
    """An image whose mask is known from the next budget on, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Point:
    """A round: how good its last model is on the test split, at what cost, and what it asks."""

    labels: int
    miou: float  # background included
    miou_foreground: float | None
    iou: tuple[float | None, ...]
    image_passes: int  # of this round's trainings
    seconds: float  # of this round's trainings and predictions, wherever they were computed
    device: str
    commit: str
    asked: tuple[Asked, ...]


def point_path(out: Path, cell: Cell, budget: int) -> Path:
    return out / "cells" / cell.name / f"labels-{budget:06}.json"


def is_finished(out: Path, cell: Cell) -> bool:
    return point_path(out, cell, cell.budgets[-1]).is_file()


def points_of(out: Path, cell: Cell) -> list[Point]:
    paths = [point_path(out, cell, budget) for budget in cell.budgets]
    return [specs.read(Point, path.parent, path.name) for path in paths]


def recipe_of(plan: Plan, cell: Cell, *, labels: int) -> dict[str, Any]:
    """The cell's recipe with the settings of the plan over its own, for a round with so many labels."""
    name = "supervised" if cell.recipe == FULL else cell.recipe
    select = {"may_be_background": True} if plan.accept_background else {}
    acquire = {"strategy": cell.acquisition}
    recipe = frozen_copy(name, json.loads(plan.settings), acquire=acquire, select=select)
    if plan.passes is None:
        return recipe
    return planning.with_passes(recipe, plan.passes, labels=labels, pool=len(plan.train) - labels)


def check(plan: Plan) -> None:
    """Raises SpecError when a cell cannot be run, or train and test share a scene."""
    scene = {name: number for number, names in enumerate(plan.scenes) for name in names}
    held = {scene[name] for name in plan.held_out}
    if shared := sorted(name for name in plan.train if scene[name] in held):
        raise SpecError(
            f"expected splits that share no scene, {len(shared)} training images show one that is held out, the first "
            f"is {shared[0]}; divide the folder with `python -m ml split FOLDER --out SPLITS` and name it as --splits"
        )
    if plan.passes is not None and plan.passes < 1:
        raise SpecError(f"--passes: expected image passes, 1 or more a round, got {plan.passes}")
    for cell in plan.cells:
        acquisition.named(cell.acquisition)
        if list(cell.budgets) != sorted({*cell.budgets}) or not 1 <= cell.budgets[0] <= cell.budgets[-1] <= len(
            plan.train
        ):
            raise SpecError(
                f"--budgets: expected growing numbers from 1 to the {len(plan.train)} training images, got "
                f"{' '.join(map(str, cell.budgets))}"
            )
