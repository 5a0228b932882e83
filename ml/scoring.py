"""Predicted masks in one folder against true ones in another: counts, and a report in words (numpy only)."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import contours, masks, metrics
from ml.protocols import PROTOCOLS, Tally
from ml.spec import SpecError


def score(truth: Path, predicted: Path, *, classes: int) -> tuple[list[str], Tally]:
    """Names of the images and their tally: every mask of the folder `truth` with its prediction of the same name.

    classes: K, background included.

    Raises:
        SpecError: there is no mask, a prediction is missing, sizes differ, or a value is no class.
    """
    true, found = masks.beneath(truth), masks.beneath(predicted)
    if not true:
        raise SpecError(f"{truth}: expected index masks (PNG), found none; name the folder that holds them")
    if missing := [name for name in true if name not in found]:
        raise SpecError(
            f"{predicted}: expected a prediction for each of {len(true)} masks, {len(missing)} are missing, "
            f"the first is {missing[0]}.png; predict them too, or take their truth away"
        )
    return list(true), stacked([_tally(path, found[name], classes) for name, path in true.items()])


def tally(truth: NDArray[np.uint8], found: NDArray[np.uint8], classes: int) -> Tally:
    """The tally of one image; truth and found are index masks (H, W)."""
    return Tally(*(counts[None] for counts in contours.counts(truth, found, classes)))


def scene_labels(names: Sequence[str], scenes: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """The scene (N,) of each image, named as `score` names it; one that no scene lists is its own.

    scenes: paths as `python -m ml scenes` writes them; their endings and the folder `images/` do not matter.
    """
    of = {_stem(path): number for number, paths in enumerate(scenes) for path in paths}
    return np.array([of.get(name, len(scenes) + place) for place, name in enumerate(names)])


def report(tally: Tally, scenes: NDArray[np.int64], *, names: Sequence[str], protocol: str) -> str:
    """Whole-set figures per class with intervals over scenes, then the same run under one protocol, or under "all"."""
    counts = tally.confusion.sum(axis=0)
    if not counts.any():
        raise SpecError("expected counted pixels, got none: every pixel of the truth is 255 (ignore)")
    shown = PROTOCOLS if protocol == "all" else {protocol: PROTOCOLS[protocol]}
    lines = [f"{len(scenes)} images, {len(np.unique(scenes))} scenes; in percent, 95 % intervals over scenes", ""]
    lines += [*_classes(tally, names), "", *_means(tally, scenes), ""]
    for name, one in shown.items():
        said = "  ".join(f"{figure} {_percent(value)}" for figure, value in one.figures(tally).items())
        lines.append(f"{name:<14} {said:<48} {one.source}")
    return "\n".join(lines)


def read_scenes(path: Path) -> list[list[str]]:
    """The lists of paths that `python -m ml scenes` wrote.

    Raises:
        SpecError: it has another form.
    """
    scenes = json.loads(path.read_text())
    if not isinstance(scenes, list) or not all(isinstance(one, list) for one in scenes):
        raise SpecError(f"{path}: expected a JSON list of lists of paths, as python -m ml scenes writes it")
    return scenes


def _tally(truth: Path, found: Path, classes: int) -> Tally:
    try:
        return tally(masks.read(truth), masks.read(found), classes)
    except ValueError as error:
        raise SpecError(f"{found} against {truth}: {error}") from error


def stacked(tallies: Sequence[Tally]) -> Tally:
    """The tally of all their images, in order."""
    return Tally(
        confusion=np.concatenate([one.confusion for one in tallies]),
        boundaries=np.concatenate([one.boundaries for one in tallies]),
        tolerant=np.concatenate([one.tolerant for one in tallies]),
    )


def _classes(tally: Tally, names: Sequence[str]) -> list[str]:
    counts = tally.confusion.sum(axis=0)
    per_class: Mapping[str, NDArray[np.float64]] = {
        "share": metrics.support(counts) / counts.sum(),
        "IoU": metrics.iou(counts),
        "Dice": metrics.dice(counts),
        "precision": metrics.precision(counts),
        "recall": metrics.recall(counts),
        "boundary IoU": boundary_iou(tally),
        "F1 within 2 px": np.array([math.nan, *map(contours.tolerant_f1, tally.tolerant.sum(axis=0)[1:])]),
    }
    width = max(len("class"), *map(len, names))
    lines = [" ".join(["class".ljust(width), "true pixels".rjust(12), *(f"{title:>14}" for title in per_class)])]
    for place, name in enumerate(names):
        cells = [f"{_percent(values[place]):>14}" for values in per_class.values()]
        lines.append(" ".join([name.ljust(width), f"{metrics.support(counts)[place]:>12,}", *cells]))
    return lines


def boundary_iou(tally: Tally) -> NDArray[np.float64]:
    """Whole-set boundary IoU per class (K,), nan for background and for a class that nobody shows."""
    shared, either = tally.boundaries.sum(axis=0).T
    values = metrics.share(shared, either)
    values[0] = math.nan  # row 0 is no class
    return values


def _means(tally: Tally, scenes: NDArray[np.int64]) -> list[str]:
    whole = {
        "mIoU with background": lambda one: metrics.mean_iou(one, background=True),
        "mIoU of the defect classes": lambda one: metrics.mean_iou(one, background=False),
        "mPA, with background": metrics.mean_accuracy,
    }
    lines = []
    for name, statistic in whole.items():
        low, high = metrics.interval(tally.confusion, scenes, statistic, rng=np.random.default_rng(0))
        value = statistic(tally.confusion.sum(axis=0))
        lines.append(f"{name:<40} {_percent(value):>6}  [{_percent(low)}, {_percent(high)}]")
    over_images = {
        "mean boundary IoU of the defect classes": metrics.mean_present(boundary_iou(tally)),
        "mean over images, with background": metrics.mean_iou_over_images(tally.confusion, background=True),
        "mean over images, defect classes": metrics.mean_iou_over_images(tally.confusion, background=False),
        "images: F1 of defective": metrics.image_f1(tally.confusion),
        "images: AUROC by predicted area": metrics.image_auroc(tally.confusion),
    }
    return lines + [f"{name:<40} {_percent(value):>6}" for name, value in over_images.items()]


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _stem(path: str) -> str:
    return str(Path(path.removeprefix("images/")).with_suffix(""))
