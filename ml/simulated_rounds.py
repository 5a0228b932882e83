"""The rounds of simulated campaigns: the stages of a recipe as the server runs them, answers from the known masks."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ml import acquisition, facts, masks, selection
from ml import spec as specs
from ml.candidates import Ask, Candidate, Pick
from ml.computed import computed
from ml.files import locked
from ml.selection import CollapsedError
from ml.simulation import PLAN, Asked, Cell, Plan, Point, is_finished, point_path, recipe_of
from ml.spec import IGNORE, EvaluateSpec, PredictSpec, Sample, Score, TrainSpec


def work(out: Path, *, threads: int, commit: str, say: Callable[[str], None]) -> None:
    """Compute the cells of OUT/plan.json that are not finished and that no other process computes.

    One whose pseudo-labels collapse says so and stays unfinished; the others go on.
    """
    plan = specs.read(Plan, out, PLAN)
    for cell in plan.cells:
        folder = out / "cells" / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", wait=False) as mine:
            if mine and not is_finished(out, cell):
                try:
                    _run_cell(plan, cell, out, threads=threads, commit=commit, say=say)
                except CollapsedError as error:
                    say(f"{cell.name}: {error}")


def _run_cell(plan: Plan, cell: Cell, out: Path, *, threads: int, commit: str, say: Callable[[str], None]) -> None:
    ground = _Ground(plan, cell, out, threads, commit)
    labelled = [pick.id for pick in ground.first_batch()]
    for turn, budget in enumerate(cell.budgets):
        path = point_path(out, cell, budget)
        if path.is_file():
            point = specs.read(Point, path.parent, path.name)
        else:
            later = cell.budgets[turn + 1] - budget if turn + 1 < len(cell.budgets) else 0
            point = _Round(ground, labelled).run(turn, later)
            specs.write(point, path.parent, path.name)
            say(f"{cell.name}: {point.labels} labels, mIoU {100 * point.miou:.1f} %, {point.seconds:.0f} s")
        labelled = labelled + [one.id for one in point.asked]


class _Ground:
    """What the rounds of a cell have in common: samples by id, scenes, and where steps lie."""

    def __init__(self, plan: Plan, cell: Cell, out: Path, threads: int, commit: str) -> None:
        self.plan, self.cell, self.out, self.threads, self.commit = plan, cell, out, threads, commit
        every = sorted((*plan.train, *plan.test, *plan.held_out))
        numbers = {name: f"{place:06}" for place, name in enumerate(dict.fromkeys(every))}
        self.train = {numbers[name]: self._sample(name, numbers) for name in sorted(plan.train)}
        self.test = tuple(self._sample(name, numbers) for name in sorted(plan.test))
        self.held_out = tuple(sorted(numbers[name] for name in plan.held_out))
        self.scene = {
            numbers[name]: scene for scene, names in enumerate(plan.scenes) for name in names if name in numbers
        }

    def first_batch(self) -> list[Pick]:
        """Round 0, alike for all strategies of a seed."""
        pool = [Candidate(id=one, scene=self.scene[one]) for one in self.train]
        return self.choose("random_scenes", pool, Ask(images=self.cell.budgets[0]), turn=0)

    def choose(self, strategy: str, pool: list[Candidate], ask: Ask, *, turn: int) -> list[Pick]:
        """As many as asked: with all scenes in a batch, further images of them follow."""
        rng = np.random.default_rng([self.cell.seed, turn])
        picks: list[Pick] = []
        while len(picks) < min(ask.images, len(picks) + len(pool)):
            missing = dataclasses.replace(ask, images=ask.images - len(picks))
            picks += acquisition.choose(strategy, pool, missing, rng)
            taken = {pick.id for pick in picks}
            pool = [one for one in pool if one.id not in taken]
        return picks

    def step(self, verb: str, told: Any) -> Path:
        return computed(self.out / "steps", verb, told, commit=self.commit)

    def _sample(self, name: str, numbers: dict[str, str]) -> Sample:
        image = Path(self.plan.folder) / name
        mask = Path(self.plan.masks) / Path(name).relative_to("images").with_suffix(".png")
        return Sample(id=numbers[name], image=str(image), mask=str(mask))


@dataclass
class _Round:
    """One turn of the recipe with these labels; its stages find here what those before them have left."""

    ground: _Ground
    labelled: list[str]
    models: list[tuple[str, list[str]]] = field(default_factory=list)  # kind of stage, checkpoints
    pseudo: dict[str, Sample] = field(default_factory=dict)
    predicted: list[Score] = field(default_factory=list)  # by the latest predict stage, with `shard`
    shard: Path = Path()
    candidates: dict[str, Candidate] = field(default_factory=dict)
    picks: list[Pick] = field(default_factory=list)
    image_passes: int = 0
    seconds: float = 0.0
    device: str = ""

    @cached_property
    def recipe(self) -> dict[str, Any]:
        return recipe_of(self.ground.plan, self.ground.cell, labels=len(self.labelled))

    def run(self, turn: int, count: int) -> Point:
        """What the last model of the loop is worth on test, after the stages; `count` images are asked for."""
        ground, stages = self.ground, self.recipe["stages"]
        by_model = bool(count and acquisition.named(ground.cell.acquisition).needs)
        for place, stage in enumerate(stages):
            later = {one["kind"] for one in stages[place + 1 :]}
            kind, settings = stage["kind"], stage["settings"]
            if kind in {"train", "distil"}:
                self._train(kind, settings)
            # The server predicts for people too; here nobody looks.
            elif kind == "predict" and (by_model or "select" in later):
                self._predict(settings)
            elif kind == "select":
                self._select(settings)
            elif kind == "acquire" and count:
                self._acquire(settings["strategy"], turn, count)
        folder = ground.step("evaluate", EvaluateSpec(
            classes=ground.plan.classes, checkpoints=(self._latest()[-1],), samples=ground.test, threads=ground.threads,
        ))  # fmt: skip
        figures = specs.read(specs.EvaluateResult, folder, "result.json").figures[0]
        return Point(
            labels=len(self.labelled), miou=figures.miou, miou_foreground=figures.miou_foreground, iou=figures.iou,
            image_passes=self.image_passes, seconds=self.seconds, device=self.device, commit=ground.commit,
            asked=tuple(Asked(pick.id, pick.reason) for pick in self.picks),
        )  # fmt: skip

    def _train(self, kind: str, settings: dict[str, Any]) -> None:
        ground = self.ground
        latest = self._latest()[-1] if self.models else None
        pseudo = tuple(self.pseudo.values()) if settings.get("pseudo") else ()
        without = set(self._pool()) - {sample.id for sample in pseudo}
        looks = selection.looks_at_pool(kind, settings)
        values = selection.training(
            self.recipe, settings, latest=latest, labels=len(self.labelled), pseudo=len(pseudo)
        )  # fmt: skip
        if kind == "distil":
            taught = [paths[-1] for made, paths in self.models if made != "distil"]
            teachers = taught if settings.get("teachers") == "all" else taught[-1:]
            values["distil"] = settings.get("distil", {}) | {"teachers": teachers}
        values |= {
            "classes": ground.plan.classes, "labelled": [], "seed": ground.cell.seed, "threads": ground.threads,
        }  # fmt: skip
        told = dataclasses.replace(
            specs.from_json(TrainSpec, json.dumps(values)),
            labelled=tuple(ground.train[one] for one in sorted(self.labelled)),
            pseudo=pseudo,
            unlabelled=tuple(self._bare(one) for one in sorted(without)) if looks else (),
            held_out=ground.held_out,
        )
        folder = ground.step("train", told)
        result = specs.read(specs.TrainResult, folder, "result.json")
        self.models.append((kind, [str(folder / name) for name in result.checkpoints]))
        self.image_passes += result.image_passes
        self.seconds += result.seconds
        self.device = result.device

    def _predict(self, settings: dict[str, Any]) -> None:
        ground = self.ground
        images = [one for one in self._pool() if settings["on"] == "pool" or one not in self.pseudo]
        self.predicted = []
        if not images:
            return
        told = selection.predicting(
            self.recipe, settings, checkpoints=self._latest(), first=self.models[0][1][-1]
        )  # fmt: skip
        self.shard = ground.step("predict", PredictSpec(
            classes=ground.plan.classes, samples=tuple(self._bare(one) for one in images),
            **{"threads": ground.threads, **told},
        ))  # fmt: skip
        result = specs.read(specs.PredictResult, self.shard, "result.json")
        self.predicted = list(result.scores)
        self.seconds += result.seconds
        said = facts.read(self.shard / facts.FACTS) if told.get("facts") else {}
        self.candidates |= {
            one.id: facts.candidate(one.id, ground.scene[one.id], one, said.get(one.id, {})) for one in self.predicted
        }

    def _select(self, settings: dict[str, Any]) -> None:
        accepted, _ = selection.divided(self.predicted, settings)
        selection.refuse_collapse([one.kept_pixels for one in accepted], settings, known=self._defects_on_labels)
        for one in accepted:
            shard = f"{self.shard}/masks.zip/{one.member}"
            self.pseudo[one.id] = dataclasses.replace(self._bare(one.id), mask=shard)

    @cached_property
    def _defects_on_labels(self) -> float:
        """Share of the pixels that are no ignored ones."""
        counts = np.zeros(IGNORE + 1, np.int64)
        for one in self.labelled:
            counts += np.bincount(masks.read(Path(str(self.ground.train[one].mask))).ravel(), minlength=len(counts))
        return float(counts[1:IGNORE].sum() / max(1, counts[:IGNORE].sum()))

    def _acquire(self, strategy: str, turn: int, count: int) -> None:
        ground = self.ground
        known = self.candidates if acquisition.named(strategy).needs else {}
        pool = [known.get(one, Candidate(id=one, scene=ground.scene[one])) for one in self._pool()]
        power = acquisition.power(turn, len(ground.cell.budgets) - 1)
        ask = Ask(images=count, power=power, classes=ground.plan.classes)
        self.picks = ground.choose(strategy, pool, ask, turn=turn + 1)

    def _latest(self) -> list[str]:
        return next(paths for kind, paths in reversed(self.models) if kind != "distil")

    def _pool(self) -> list[str]:
        labelled = set(self.labelled)
        return [one for one in self.ground.train if one not in labelled]

    def _bare(self, one: str) -> Sample:
        """Without its mask: nobody has asked for it."""
        return dataclasses.replace(self.ground.train[one], mask=None)
