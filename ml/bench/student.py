"""Our small network, alone and taught by a large one, beside the small networks of the papers: same split, same passes.

Every training and evaluation is a step folder named after its spec, as those of simulated campaigns: calls of any
length, as many as it takes, go on with them, within a training too.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import dividing, metrics
from ml import learning_curves as curves
from ml import spec as specs
from ml.bench import machine
from ml.bench.student_page import TAUGHT
from ml.computed import COMMIT, computed
from ml.device import choose
from ml.folder import Folder, canonical
from ml.networks import NETWORKS
from ml.networks.costs import cost
from ml.progress import DivergedError, Say
from ml.recipes import RECIPES
from ml.simulation_report import number
from ml.spec import EvaluateSpec, NetworkSpec, Progress, Sample, SpecError, TrainResult, TrainSpec

_DISTIL = next(stage for stage in RECIPES["supervised_distilled"].stages if stage.kind == "distil").settings
STUDENT = _DISTIL["network"]["name"]
RIVALS = ("mff_metal", "fast_segformer_e", "mcff_l")
TEACHER = "ppl_resnet18"
TEACHES = "teacher"  # role of an arm
PASSES = {"steps", "batch", "accumulation"}  # settings that make the image passes of a training


@dataclass(frozen=True)
class Arm:
    """A network and how it is trained."""

    network: str
    role: str = ""  # TAUGHT or TEACHES

    @property
    def name(self) -> str:
        return f"{self.network}, {self.role}" if self.role else self.network


TAUGHT_STUDENT = Arm(STUDENT, TAUGHT)


@dataclass(frozen=True)
class Ground:
    """What all trainings have in common.

    scenes: (N,) of the test images.  settings: of every training; own: further ones, by network.  told: facts for the
    page, JSON-ready.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    held_out: tuple[str, ...]
    scenes: NDArray[np.int64]
    settings: dict[str, Any]
    own: Mapping[str, dict[str, Any]]
    steps: Path
    told: dict[str, Any]

    @property
    def commit(self) -> str:
        return str(self.told["machine"]["commit"])


@dataclass(frozen=True)
class Run:
    """One training of an arm. counts: confusions (N, K, K) on the test images."""

    result: TrainResult
    figures: specs.Figures
    counts: NDArray[np.int64]
    commit: str


Runs = dict[Arm, dict[int, Run]]  # by seed


def measure(
    folder: Path, work: Path, *, networks: Sequence[str], teacher: str, seeds: Sequence[int], settings: dict[str, Any],
    own: Mapping[str, dict[str, Any]], splits: Path | None, scenes: Path | None, say: Say,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Figures of each network, and differences to the taught student, JSON-ready: all there are, after each training.

    networks: rivals, keys of ml.networks.NETWORKS.  settings: of every training, over those of the recipe `supervised`.
    own: further ones, by network.

    Raises:
        SpecError: there is no such network, one is to have more passes than others, or the folder, its splits or its
            scenes cannot be used.
    """
    if unknown := [name for name in (teacher, *networks, *own) if name not in NETWORKS]:
        raise SpecError(f"networks: expected some of {', '.join(NETWORKS)}, got {', '.join(unknown)}")
    if uneven := sorted({name for given in own.values() for name in given} & PASSES):
        raise SpecError(
            f"--own: expected the same image passes for all, got {', '.join(uneven)}; set it for all, --train"
        )
    work.mkdir(parents=True, exist_ok=True)
    ground = _ground(canonical(folder.resolve()), work, settings=settings, own=own, splits=splits, scenes=scenes)
    arms = (Arm(teacher, TEACHES), Arm(STUDENT), TAUGHT_STUDENT, *(Arm(name) for name in networks))
    runs: Runs = {arm: {} for arm in arms}
    diverged: list[str] = []
    for done, (seed, arm) in enumerate(itertools.product(seeds, arms), start=1):
        note = f"seed {seed}, {arm.name}: "
        try:
            runs[arm][seed] = _run(ground, arm, seed, teacher=arms[0])
            note += f"mIoU {100 * runs[arm][seed].figures.miou:.1f} %"
        except DivergedError as error:  # the night goes on
            note += str(error)
            diverged.append(note)
        say(Progress(step=done, steps=len(seeds) * len(arms), note=note))
        if any(runs.values()):
            yield {**ground.told, **_compared(runs, ground), "diverged": diverged}


def _ground(
    folder: Folder, work: Path, *, settings: dict[str, Any], own: Mapping[str, dict[str, Any]], splits: Path | None,
    scenes: Path | None,
) -> Ground:  # fmt: skip
    known = dividing.known_scenes(folder, scenes, kept=work / "scenes.json")
    given, where = dividing.known_splits(folder, splits, known)
    judged = {split: sorted(given.get(split, [])) for split in ("train", "test")}
    if not all(judged.values()):
        raise SpecError(f"{where}: expected training and test images, got none of one of them; write another")
    (leak,) = dividing.leaks(folder, known, judged)
    train, test = (
        tuple(Sample(name, str(folder.root / name), str(folder.masks[name])) for name in names)
        for names in judged.values()
    )
    scene = {name: number for number, names in enumerate(known) for name in names}
    whole = {**RECIPES["supervised"].train, **settings}
    told = {
        "machine": machine.described(choose(0)),
        "data": folder.root.name,
        "split": where,
        "images": {split: len(names) for split, names in judged.items()},
        "scenes": {split: len({scene[name] for name in names}) for split, names in judged.items()},
        "classes": folder.classes,
        "settings": {name: value for name, value in whole.items() if name != "network"},
        "own": own,
        "look_up": {
            "shared": leak.shared,
            "miou": metrics.mean_iou(leak.counts, background=True),
            "miou_foreground": metrics.mean_iou(leak.counts, background=False),
        },
    }
    return Ground(
        classes=folder.classes, train=train, test=test, held_out=tuple(sorted({*given.get("val", []), *given["test"]})),
        scenes=np.array([scene[name] for name in judged["test"]]), settings=whole, own=own, steps=work / "steps",
        told=told,
    )  # fmt: skip


def _run(ground: Ground, arm: Arm, seed: int, *, teacher: Arm) -> Run:
    """A training, computed unless it is there already, and what its last weights are worth on test."""
    step = _trained(ground, arm, seed, teacher=teacher)
    weights = _weights(step)
    told = EvaluateSpec(classes=ground.classes, checkpoints=(weights,), samples=ground.test)
    judged = computed(ground.steps, "evaluate", told, commit=ground.commit)
    with np.load(judged / "confusions.npz") as kept:
        counts = kept["0"]
    return Run(
        result=specs.read(TrainResult, step, "result.json"),
        figures=specs.read(specs.EvaluateResult, judged, "result.json").figures[0],
        counts=counts,
        commit=(step / COMMIT).read_text(),
    )


def _trained(ground: Ground, arm: Arm, seed: int, *, teacher: Arm) -> Path:
    values = {**_settings(ground, arm), "classes": ground.classes, "labelled": [], "seed": seed}
    if arm == TAUGHT_STUDENT:
        teachers = [_weights(_trained(ground, teacher, seed, teacher=teacher))]
        values["distil"] = {**_DISTIL["distil"], "teachers": teachers}
    told = dataclasses.replace(
        specs.from_json(TrainSpec, json.dumps(values)), labelled=ground.train, held_out=ground.held_out
    )
    return computed(ground.steps, "train", told, commit=ground.commit)


def _settings(ground: Ground, arm: Arm) -> dict[str, Any]:
    network = {"name": arm.network, "channels": ground.settings["network"]["channels"]}
    return {**ground.settings, "network": network, **ground.own.get(arm.network, {})}


def _weights(step: Path) -> str:
    return str(step / specs.read(TrainResult, step, "result.json").checkpoint)


def _compared(runs: Runs, ground: Ground) -> dict[str, Any]:
    """What is known so far: rows, the taught student first and the teacher last, and differences."""
    order = sorted(
        (arm for arm, found in runs.items() if found), key=lambda arm: (arm.role == TEACHES, arm != TAUGHT_STUDENT)
    )
    pairs = [(arm, sorted(runs[TAUGHT_STUDENT].keys() & runs[arm].keys())) for arm in order if arm != TAUGHT_STUDENT]
    return {
        "rows": [_row(arm, runs[arm], ground) for arm in order],
        "differences": [_difference(runs, arm, seeds, ground) for arm, seeds in pairs if seeds],
    }


def _row(arm: Arm, runs: Mapping[int, Run], ground: Ground) -> dict[str, Any]:
    some, settings = next(iter(runs.values())), _settings(ground, arm)
    foreground = _foreground(runs.values())
    means = np.array([metrics.iou(run.counts.sum(axis=0)) for run in runs.values()]).mean(axis=0)
    return {
        "name": arm.name,
        "role": arm.role,
        "parameters": some.result.parameters,
        "gmacs": _gmacs(NetworkSpec(**settings["network"]), len(ground.classes) + 1, settings["crop"]),
        "seeds": list(runs),
        "image_passes": some.result.image_passes,
        "seconds": float(np.mean([run.result.seconds for run in runs.values()])),
        "device": sorted({run.result.device for run in runs.values()}),
        "commit": sorted({run.commit for run in runs.values()}),
        "miou": float(np.mean([run.figures.miou for run in runs.values()])),
        "miou_half_width": number(curves.half_width(np.array([run.figures.miou for run in runs.values()]))),
        "miou_foreground": float(foreground.mean()),
        "miou_foreground_half_width": number(curves.half_width(foreground)),
        "interval": _over_scenes([[run.counts for run in runs.values()]], ground),
        "iou": [number(value) for value in means.tolist()],
        "miou_foreground_by_seed": foreground.tolist(),
    }


def _difference(runs: Runs, arm: Arm, seeds: Sequence[int], ground: Ground) -> dict[str, Any]:
    """What the taught student is ahead of an arm, without background, over the seeds that both have."""
    both = [[runs[one][seed] for seed in seeds] for one in (TAUGHT_STUDENT, arm)]
    ahead = _foreground(both[0]) - _foreground(both[1])
    return {
        "first": TAUGHT_STUDENT.name,
        "second": arm.name,
        "seeds": list(seeds),
        "difference": float(ahead.mean()),
        "half_width": number(curves.half_width(ahead)),
        "interval": _over_scenes([[run.counts for run in some] for some in both], ground),
        "p": curves.sign_flip(ahead.tolist(), np.random.default_rng(0)),
    }


def _foreground(runs: Iterable[Run]) -> curves.Floats:
    """Mean IoU without background of each run (S,)."""
    return _means(np.stack([run.counts.sum(axis=0) for run in runs]))


def _means(counts: NDArray[Any]) -> curves.Floats:
    """Mean IoU without background of confusions (..., K, K), over the classes that are present."""
    values = metrics.iou(counts)[..., 1:]
    return metrics.share(np.nansum(values, axis=-1), (~np.isnan(values)).sum(axis=-1))


def _over_scenes(sides: Sequence[Sequence[NDArray[np.int64]]], ground: Ground) -> list[float] | None:
    """95 % interval of the mean over seeds of mIoU without background, or of the first side's minus the second's."""
    per_image = np.stack([np.stack(side, axis=1) for side in sides], axis=1)  # (N, sides, seeds, K, K)

    def statistic(sums: NDArray[np.float64]) -> float:
        first, *second = _means(sums).mean(axis=-1).tolist()
        return float(first - sum(second))

    ends = metrics.interval(per_image, ground.scenes, statistic, rng=np.random.default_rng(0))
    return None if math.isnan(ends[0]) else list(ends)


@lru_cache
def _gmacs(network: NetworkSpec, classes: int, size: int) -> float:
    return cost(network, classes=classes, size=size).gmacs
