"""`python -m ml simulate`: a plan from what was asked for, processes that work on it, and the report at the end."""

import argparse
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from ml import dividing, planning, simulated_rounds, simulation, simulation_report
from ml import spec as specs
from ml.acquisition import ACQUISITION, DEFAULT
from ml.computed import running_commit
from ml.folder import canonical
from ml.recipes import RECIPES
from ml.simulation import FULL, PLAN, Cell, Plan
from ml.spec import SpecError


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="canonical, with masks")
    parser.add_argument("--out", type=Path, required=True, help="folder of cells, steps and the report; may be resumed")
    parser.add_argument("--recipes", nargs="+", default=["supervised"], choices=RECIPES, metavar="RECIPE")
    parser.add_argument(
        "--acquisitions", nargs="+", default=["random_scenes", DEFAULT], choices=ACQUISITION, metavar="STRATEGY"
    )
    parser.add_argument(
        "--budgets", nargs="+", type=Fraction, required=True, help="labels, growing; 1/8: of the training images"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--train", default="{}", metavar="JSON", help="training settings over the recipes' own")
    parser.add_argument("--passes", type=int, help="images through forward and backward a round, for every recipe")
    parser.add_argument("--splits", type=Path, help="splits.json; default: the folder's own, otherwise made by scene")
    parser.add_argument("--scenes", type=Path, help="what `scenes` wrote; without it they are found")
    parser.add_argument("--processes", type=int, default=1, help="that compute cells side by side")
    parser.add_argument("--accept-background", action="store_true", help="go on where pseudo-labels show no defect")
    parser.add_argument("--title", default="Simulated campaigns")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)  # computes what the plan in OUT says
    parser.add_argument("--watch-stdin", action="store_true", help=argparse.SUPPRESS)


def parsed(words: list[str]) -> argparse.Namespace:
    """The options of `run`, for callers that are programs."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Compute what is not finished yet, and report.

    Raises:
        SpecError: the plan cannot be run, or OUT holds another one's cells.
        ChildProcessError: a process failed; the others have gone on.
    """
    out = options.out.resolve()
    if options.worker:
        threads = max(1, len(os.sched_getaffinity(0)) // options.processes)
        simulated_rounds.work(out, threads=threads, commit=running_commit(), say=lambda line: print(line, flush=True))
        return
    out.mkdir(parents=True, exist_ok=True)
    plan = _plan(options)
    simulation.check(plan)
    _refuse_other_plan(plan, out)
    specs.write(plan, out, PLAN)
    print(_costs(plan))
    if _missing(plan, out):
        _work_together(options, out)
    if missing := _missing(plan, out):
        raise ChildProcessError(
            f"simulate: {len(missing)} cells are not finished ({missing[0]}, ...); see above, and call it again"
        )
    print(simulation_report.write(plan, out, title=options.title))


def _missing(plan: Plan, out: Path) -> list[str]:
    return [cell.name for cell in plan.cells if not simulation.is_finished(out, cell)]


def _costs(plan: Plan) -> str:
    """What each arm's rounds will take, before any of them begins."""
    lines = []
    for cell in {(cell.recipe, cell.budgets): cell for cell in plan.cells}.values():
        for labels in cell.budgets:
            recipe = simulation.recipe_of(plan, cell, labels=labels)
            passes = planning.image_passes(recipe, labels=labels, pool=len(plan.train) - labels)
            lines.append(f"{cell.recipe}, {labels} labels: {planning.in_words(passes)} a round")
    return "\n".join(lines)


def _work_together(options: argparse.Namespace, out: Path) -> None:
    command = [sys.executable, "-m", "ml", "simulate", str(options.folder), "--out", str(out), "--budgets", "1",
               "--processes", str(options.processes), "--worker", "--watch-stdin"]  # fmt: skip
    # They hold our end of a pipe as stdin: whatever becomes of us, it closes, and they end.
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) for _ in range(options.processes)
    ]
    failed = [worker for worker in workers if worker.wait()]
    if failed:
        raise ChildProcessError(f"simulate: {len(failed)} of {len(workers)} processes failed, why is above")


def _plan(options: argparse.Namespace) -> Plan:
    folder = canonical(options.folder.resolve())
    known = dividing.known_scenes(folder, options.scenes, kept=options.out / "scenes.json")
    splits, where = dividing.known_splits(folder, options.splits, known)
    held_out = sorted({*splits.get("val", []), *splits.get("test", [])})
    if without := [name for name in (*splits["train"], *splits["test"]) if name not in folder.masks]:
        raise SpecError(f"expected a mask of every image, {len(without)} have none: {without[0]}, ...")
    settings = json.dumps(json.loads(options.train), sort_keys=True)
    whole = len(splits["train"])
    budgets = tuple(int(one) if one.denominator == 1 else max(1, round(one * whole)) for one in options.budgets)
    # The seeds of an arm one after the other: arms of a seed share steps, and would wait for each other.
    cells = [
        Cell(recipe, acquisition, seed, budgets)
        for recipe in options.recipes for acquisition in options.acquisitions for seed in options.seeds
    ]  # fmt: skip
    cells += [Cell(FULL, "random_scenes", seed, (whole,)) for seed in options.seeds]
    return Plan(
        folder=str(folder.root), masks=str(folder.root / "masks"), classes=folder.classes,
        train=tuple(sorted(splits["train"])), test=tuple(sorted(splits["test"])), held_out=tuple(held_out),
        scenes=tuple(map(tuple, known)), settings=settings, split=f"scene-disjoint {where}", cells=tuple(cells),
        accept_background=options.accept_background, passes=options.passes,
    )  # fmt: skip


def _refuse_other_plan(plan: Plan, out: Path) -> None:
    """Cells may be added to what a folder holds; everything else must stay, budgets included."""
    if not (out / PLAN).is_file():
        return
    before = specs.read(Plan, out, PLAN)
    names = ("folder", "classes", "train", "test", "held_out", "scenes", "settings", "passes")
    changed = [name for name in names if getattr(before, name) != getattr(plan, name)]
    if {cell.budgets for cell in before.cells} != {cell.budgets for cell in plan.cells}:
        changed.append("budgets")
    if changed:
        raise SpecError(f"--out {out}: holds cells with other {', '.join(changed)}; name another folder")
