"""PPL's reliability of a pool: `python -m ml predict` against the published loop, on the same files and models.

The rival is written anew after train.py of the release (Wu et al., 2023): one picture at a time, three forwards in
fp32, argmax in torch, histograms of mask pairs in numpy (lines 373-378), entropy and confidence (380-389). Both sides
begin with checkpoints and image files and end with scores and a palette PNG for each image; nobody keeps decoded
pixels. All take turns, some dozens of images at a time, in one run: whatever else the machine does meets all alike.
"""

import json
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ml import chart, checkpoint, synthetic
from ml import spec as specs
from ml.bench import machine
from ml.device import Team, choose
from ml.folder import Folder, canonical
from ml.predict import palette_png, predict
from ml.progress import Say
from ml.recipes import RECIPES
from ml.selection import trust
from ml.spec import IMAGENET, PredictSpec, Progress, Sample, SpecError, TrainResult, TrainSpec
from ml.train import train

Floats = NDArray[np.float64]

SEED = 0
SIZE = 200  # pixels of generated surfaces: what the recipes are made for
TURN = 64  # images between two turns: four batches of a prediction
RIVAL = "published"
# What is compared: settings of a prediction by three checkpoints.
OURS: dict[str, dict[str, str]] = {
    "fp32": {"stable": "masks", "precision": "fp32"},
    "bf16": {"stable": "masks", "precision": "bf16"},
    "foreground, auto": {"stable": "foreground"},
}


@dataclass(frozen=True)
class Pool:
    """What is learnt from, and what is scored."""

    classes: tuple[str, ...]
    labelled: tuple[Sample, ...]
    scored: tuple[Sample, ...]


def measure(
    folder: Path | None, work: Path | None, *, recipes: Sequence[str], settings: dict[str, Any], labels: int,
    images: int, threads: Sequence[int], say: Say,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Figures of each recipe's model with each number of threads, JSON-ready: all that are known after each one.

    folder: canonical, with masks; None = generated surfaces.  work: where models are kept for the next call; None =
    nowhere.  recipes: whose training leaves the three checkpoints, with these `settings` over its own.  labels: images
    to train on.  images: others, to score, a multiple of the images of a turn or fewer than those.

    Raises:
        SpecError: there are too few images with a mask.
    """
    on = machine.described(choose(0))
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        place = work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pool = _pool(canonical(folder or _generated(place, labels + images)), labels=labels, images=images)
        told = {
            "data": (folder or Path("generated surfaces")).name, "labels": labels, "images": len(pool.scored),
            "settings": settings, "turn": TURN, "batch": PredictSpec.batch, "seed": SEED,
        }  # fmt: skip
        for name in recipes:
            spec = _training(name, pool, settings)
            trained = _trained(spec, place / name, say)
            asked = PredictSpec(pool.classes, trained.checkpoints, pool.scored)
            for count in threads:
                found = _figures(replace(asked, threads=count), place / name)
                network = f"{spec.network.name}, {spec.network.channels} ch."
                rows.append({"recipe": name, "network": network, "threads": torch.get_num_threads(), "arms": found})
                say(Progress(step=len(rows), steps=len(recipes) * len(threads), note=f"{network}, scored"))
                yield {"machine": on, "measured": told, "rows": list(rows)}


def _generated(place: Path, images: int) -> Path:
    folder = place / f"surfaces-{images}"
    if not (folder / "classes.json").exists():
        synthetic.generate(folder, images=images, size=SIZE, seed=SEED)
    return folder


def _pool(folder: Folder, *, labels: int, images: int) -> Pool:
    drawn = [name for name in folder.names if name in folder.masks]
    if len(drawn) < labels + images:
        raise SpecError(
            f"{folder.root}: expected {labels} images with masks to train on and {images} to score, got {len(drawn)} "
            "with masks in all; lower --labels or --images"
        )
    order = np.random.default_rng(SEED).permutation(len(drawn))[: labels + images]
    samples = [
        Sample(str(n), str((folder.root / drawn[n]).resolve()), str(folder.masks[drawn[n]].resolve())) for n in order
    ]
    return Pool(folder.classes, tuple(samples[:labels]), tuple(samples[labels:]))


def _training(recipe: str, pool: Pool, settings: dict[str, Any]) -> TrainSpec:
    told = {**RECIPES[recipe].train, **settings}
    if told.get("encoder_weights") == IMAGENET:
        told["encoder_weights"] = None  # a measurement of speed has no need of the net
    asked = {"classes": pool.classes, "labelled": [vars(one) for one in pool.labelled], "seed": SEED, **told}
    return specs.from_json(TrainSpec, json.dumps(asked))


def _trained(spec: TrainSpec, folder: Path, say: Say) -> TrainResult:
    """What the training leaves in the folder, or an earlier one of the same spec has left there."""
    if not ((folder / "result.json").exists() and specs.read(TrainSpec, folder) == spec):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").unlink(missing_ok=True)
        specs.write(spec, folder, "spec.json")
        specs.write(train(spec, folder, say=say, team=Team()), folder, "result.json")
        (folder / specs.STATE).unlink(missing_ok=True)
    return specs.read(TrainResult, folder, "result.json")


def ours(spec: PredictSpec, folder: Path) -> list[float]:
    """Reliability of each sample as a prediction scores it, in order."""
    return [trust(one) for one in predict(spec, folder, say=lambda _: None).scores]


def published(spec: PredictSpec, folder: Path) -> list[float]:
    """Reliability of each sample as PPL's release scores it, in order; the masks are left as palette PNGs.

    Source: the release's train.py, lines 373-389. Changed: pictures keep their size, and their masks are those of the
    last checkpoint, where the release asks another model once more (line 416).
    """
    device = choose(spec.threads).device
    loaded = [checkpoint.load(folder / name, classes=spec.classes) for name in spec.checkpoints]
    models, channels = [model.to(device) for model, _ in loaded], loaded[0][1].network.channels
    classes = len(spec.classes) + 1
    left = folder / "published"
    left.mkdir(exist_ok=True)
    scores = []
    with torch.no_grad():
        for sample in spec.samples:
            picture = _picture(folder / sample.image, channels).to(device)
            answers = [model(picture) for model in models]
            masks = [answer.argmax(dim=1)[0].cpu().numpy() for answer in answers]
            stability = np.mean([_mean_iou(mask, masks[-1], classes) for mask in masks[:-1]])
            probabilities = answers[-1].softmax(dim=1)
            entropy = -(probabilities * torch.log(probabilities + 1e-10)).sum(dim=1) / math.log(classes)
            confidence = ((1 - entropy) * probabilities.max(dim=1).values).mean().item()
            scores.append(float(stability * confidence))
            (left / f"{sample.id}.png").write_bytes(palette_png(masks[-1].astype(np.uint8)))
    return scores


def _picture(path: Path, channels: int) -> Tensor:
    """(1, C, H, W) float in [0, 1]."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels)).permute(2, 0, 1)[None].contiguous() / 255


def _mean_iou(one: NDArray[np.int64], other: NDArray[np.int64], classes: int) -> float:
    """Over the classes that either mask (H, W) shows, background included."""
    pairs = np.bincount(classes * one.ravel() + other.ravel(), minlength=classes**2).reshape(classes, classes)
    shared = np.diag(pairs)
    either = pairs.sum(axis=0) + pairs.sum(axis=1) - shared
    return float((shared[either > 0] / either[either > 0]).mean())


def _figures(asked: PredictSpec, folder: Path) -> dict[str, dict[str, float]]:
    """Of each arm, the rival first."""
    arms: dict[str, Callable[[tuple[Sample, ...]], list[float]]] = {
        RIVAL: lambda samples: published(replace(asked, samples=samples), folder),
        **{name: partial(_scored, asked, folder, settings) for name, settings in OURS.items()},
    }
    compute = choose(asked.threads)
    for arm in arms.values():
        arm(asked.samples[: asked.batch])  # memory is first touched, kernels are chosen
    spent: dict[str, list[machine.Clocks]] = {name: [] for name in arms}
    scores: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for turn, start in enumerate(range(0, len(asked.samples), TURN)):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            began = machine.now(compute)
            scores[name] += arms[name](asked.samples[start : start + TURN])
            spent[name].append(machine.since(began, compute))
    return {
        name: _compared(
            np.array(spent[name]), np.array(spent[RIVAL]), np.array(scores[name]), np.array(scores[RIVAL])
        )
        for name in arms
    }  # fmt: skip


def _scored(asked: PredictSpec, folder: Path, settings: dict[str, str], samples: tuple[Sample, ...]) -> list[float]:
    return ours(replace(asked, samples=samples, **settings), folder)  # type: ignore[arg-type]


def _compared(spent: Floats, rival: Floats, scores: Floats, published: Floats) -> dict[str, float]:
    """spent, rival: (turns, 2) seconds by the wall and of processor time.  scores, published: (images,)."""
    ratios = rival / spent
    half = len(scores) // 2
    reliable = [set(np.argsort(-one, kind="stable")[:half].tolist()) for one in (scores, published)]
    return {
        "images_per_second": statistics.median(min(TURN, len(scores)) / spent[:, 0]),
        "ratio": statistics.median(ratios[:, 0]),
        "processor_ratio": statistics.median(ratios[:, 1]),
        "spearman": spearman(scores, published),
        "same_half": len(reliable[0] & reliable[1]) / max(1, half),
        "lowest": float(scores.min()),
        "highest": float(scores.max()),
    }


def spearman(one: Floats, other: Floats) -> float:
    """Rank correlation in [-1, 1], ties at their mean rank; nan where one of them is constant."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def table(figures: dict[str, Any]) -> str:
    """The figures as a page in Markdown."""
    lines = [
        "# PPL's reliability of a pool, against the published loop",
        "",
        *_how(figures["measured"], figures["machine"]),
        "",
        "![Images a second](scoring.svg)",
        "",
        "| recipe | network | threads | | images/s | times the published | (processor) | Spearman | same half |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['recipe']} | {row['network']} | {row['threads']} | {name} | {one['images_per_second']:.1f} | "
        f"{one['ratio']:.2f} | {one['processor_ratio']:.2f} | {one['spearman']:.5f} | {100 * one['same_half']:.1f} % |"
        for row in figures["rows"]
        for name, one in row["arms"].items()
    ]
    return "\n".join(lines) + "\n"


def _how(told: dict[str, Any], on: dict[str, Any]) -> Iterator[str]:
    yield f"`python -m ml bench scoring`, commit {on['commit']}, seed {told['seed']}; {on['processor']},"
    yield f"{on['device']}, torch {on['torch']}, load when it began {on['load'][0]}. Data: {told['data']}. Models"
    yield f"trained on {told['labels']} images with the settings of their recipe, {json.dumps(told['settings'])} over"
    yield f"them; {told['images']} others scored by their three checkpoints. `published`: PPL's loop, one"
    yield "picture at a time in fp32, written anew. The others are whole runs of `python -m ml predict`, in batches of"
    yield f"{told['batch']}: `fp32` and `bf16` score as published, `foreground` as recipe `ppl` does, by another"
    yield "definition. From checkpoints and image files to scores and mask files; no decoded pixels are kept. All take"
    yield f"turns, {told['turn']} images each; medians of the turns, ratios to the published loop's turn beside it, by"
    yield "the wall clock and in processor time. Same half: of the images that the published score calls reliable (the"
    yield "better half), how many the other does as well."


COLOURS = {RIVAL: "#555555", "fp32": "#4363d8", "bf16": "#3cb44b", "foreground, auto": "#f58231"}
LEFT, RIGHT, BAR, GAP = 200, 220, 16, 14


def picture(figures: dict[str, Any]) -> str:
    """Images a second as bars, in SVG: a group for each network and number of threads."""
    rows = figures["rows"]
    most = max(one["images_per_second"] for row in rows for one in row["arms"].values())
    parts, top = [], GAP
    for row in rows:
        label = f"{row['network']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        parts.append(f'<text x="{LEFT - 10}" y="{top + 2 * BAR}" text-anchor="end">{label}</text>')
        for name, one in row["arms"].items():
            long = (chart.WIDTH - LEFT - RIGHT) * one["images_per_second"] / most
            said = f"{one['images_per_second']:.1f}/s, {one['ratio']:.2f} x, {name}"
            parts.append(
                f'<rect x="{LEFT}" y="{top}" width="{long:.1f}" height="{BAR - 2}" fill="{COLOURS[name]}"/>'
                f'<text x="{LEFT + long + 6:.1f}" y="{top + BAR - 4}">{said}</text>'
            )
            top += BAR
        top += GAP
    return chart.picture(parts, height=top)
