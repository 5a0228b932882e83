"""A generated surface data set: brushed metal with scratches, patches and inclusions, as a canonical folder.

It stands in for a user's images where there are none: in the demo and in tests. It has what makes real sets hard: grain
and light that differ from image to image, faint defects, several defects in one image, harmless marks that look like
defects, images without any defect, and rotated copies of the same piece of surface.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]

SCRATCH, PATCH, INCLUSION = 1, 2, 3
CLASSES = ({"name": "scratch", "colour": "#e6194b"}, {"name": "patch", "colour": "#3cb44b"},
           {"name": "inclusion", "colour": "#4363d8"})  # fmt: skip
# Defects of a scene. The scenes walk through this list, so every run of twenty holds every case:
# 15 % without a defect, 60 % with one kind, 25 % with several.
CASES: tuple[tuple[int, ...], ...] = (
    (SCRATCH,), (PATCH,), (INCLUSION,), (), (SCRATCH, PATCH), (INCLUSION,), (SCRATCH,), (PATCH,),
    (SCRATCH, INCLUSION), (SCRATCH,), (), (PATCH,), (INCLUSION,), (PATCH, INCLUSION), (SCRATCH,), (PATCH,),
    (SCRATCH, PATCH, INCLUSION), (INCLUSION,), (), (SCRATCH, PATCH),
)  # fmt: skip
SHARES = {"train": 0.60, "val": 0.15, "test": 0.25}
COPIES = 0.25  # share of the images that show, turned, a piece of surface another image shows too
SUPERSAMPLING = 4  # thin lines are drawn this much larger and shrunk, so that their edges are soft


@dataclass(frozen=True)
class Shot:
    """One photograph: of which scene, and by how many quarter turns it is rotated."""

    scene: int
    turns: int


def generate(folder: Path, *, images: int, size: int, seed: int) -> None:
    """Write `images` square grey PNGs of `size` pixels with masks, classes.json and scene-disjoint splits.json.

    The same arguments always write the same pixels.
    """
    if images < 4 or size < 32:
        raise ValueError(f"expected at least 4 images of at least 32 pixels, got {images} of {size}")
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    scenes = images - int(images * COPIES)
    # Numbers are dealt at random: a name tells neither the scene nor the split.
    numbers = rng.permutation(images) + 1
    splits: dict[str, list[str]] = {split: [] for split in SHARES}
    for number, shot in zip(numbers, _shots(images, scenes, rng), strict=True):
        name = f"{number:04d}.png"
        grey, mask = photograph(shot, size=size, seed=seed)
        Image.fromarray(grey).save(folder / "images" / name, compress_level=3)
        Image.fromarray(mask).save(folder / "masks" / name)
        splits[_split(shot.scene, scenes)].append(f"images/{name}")
    (folder / "classes.json").write_text(json.dumps(CLASSES, indent=1))
    (folder / "splits.json").write_text(json.dumps({split: sorted(names) for split, names in splits.items()}, indent=1))


def _shots(images: int, scenes: int, rng: Generator) -> Iterator[Shot]:
    for scene in range(scenes):
        yield Shot(scene, turns=0)
    for pick in rng.choice(3 * scenes, images - scenes, replace=False):
        yield Shot(int(pick) // 3, turns=1 + int(pick) % 3)


def _split(scene: int, scenes: int) -> str:
    # Scenes are drawn independently, so neighbours may share a split; three scenes give one to each.
    train, val = round(scenes * SHARES["train"]), max(1, round(scenes * SHARES["val"]))
    if scene < train:
        return "train"
    return "val" if scene < train + val else "test"


def photograph(shot: Shot, *, size: int, seed: int) -> tuple[Mask, Mask]:
    """Grey values and index mask of one shot, both (size, size) uint8."""
    surface, mask = scene(CASES[shot.scene % len(CASES)], size=size, rng=np.random.default_rng([seed, 1, shot.scene]))
    if shot.turns:
        noise = np.random.default_rng([seed, 2, shot.scene, shot.turns]).normal(0, 1.5, surface.shape)
        surface = np.rot90(surface, shot.turns) + noise.astype(np.float32)
        mask = np.rot90(mask, shot.turns)
    grey = np.clip(surface, 0, 255).astype(np.uint8)
    return (_recompressed(grey) if shot.turns else grey), np.ascontiguousarray(mask)


def _recompressed(grey: Mask) -> Mask:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=90)
    return np.array(Image.open(buffer))


def scene(kinds: tuple[int, ...], *, size: int, rng: Generator) -> tuple[Floats, Mask]:
    """Grey values (float32, about 0..255, not clipped) and index mask of a piece of surface with these defects."""
    angle = rng.uniform(0, np.pi)
    surface = _brushed(size, angle, rng)
    if rng.random() < 0.30:
        surface = _with_seam(surface, angle, rng)
    if rng.random() < 0.45:
        surface = _with_smudge(surface, rng)
    mask: Mask = np.zeros((size, size), np.uint8)
    faint = rng.random() < 0.25
    # Patches first: a scratch runs over a patch, not under it.
    for kind in sorted(kinds, key=(PATCH, SCRATCH, INCLUSION).index):
        strength = rng.uniform(0.45, 0.75) if faint else rng.uniform(0.8, 1.25)
        surface = DEFECTS[kind](surface, mask, angle, strength, rng)
    return surface * _light(size, rng) + rng.normal(0, 1.5, surface.shape).astype(np.float32), mask


# --- the surface ------------------------------------------------------------------------------------------------------


def _field(size: int, angle: float, along: float, across: float, rng: Generator) -> Floats:
    """Noise (size, size) of mean 0 and deviation 1: smooth over `along` pixels at `angle`, over `across` athwart."""
    fy, fx = np.meshgrid(np.fft.fftfreq(2 * size), np.fft.rfftfreq(2 * size), indexing="ij")
    # The far side of a picture twice as large is cut off, for the transform makes opposite edges meet.
    forward = fx * np.cos(angle) + fy * np.sin(angle)
    sideways = fy * np.cos(angle) - fx * np.sin(angle)
    blur = np.exp(-2 * np.pi**2 * ((forward * along) ** 2 + (sideways * across) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((2 * size, 2 * size))) * blur)[:size, :size]
    even: Floats = ((noise - noise.mean()) / noise.std()).astype(np.float32)
    return even


def _brushed(size: int, angle: float, rng: Generator) -> Floats:
    grain = _field(size, angle, rng.uniform(8, 25), rng.uniform(0.4, 0.8), rng)
    streaks = _field(size, angle, rng.uniform(40, 90), rng.uniform(1.2, 3.0), rng)
    clouds = _field(size, angle, size / 3, size / 6, rng)
    pattern = rng.uniform(5, 11) * grain + rng.uniform(2, 7) * streaks + rng.uniform(2, 6) * clouds
    surface: Floats = rng.uniform(95, 175) + pattern
    return surface


def _light(size: int, rng: Generator) -> Floats:
    """Factor (size, size) around 1: a slope, a falling-off towards the corners, perhaps a reflection."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    slope, direction = rng.uniform(0, 0.22), rng.uniform(0, 2 * np.pi)
    light: Floats = 1 + slope * (x * np.cos(direction) + y * np.sin(direction)) - rng.uniform(0, 0.16) * (x**2 + y**2)
    if rng.random() < 0.35:
        offset = x * np.cos(direction) + y * np.sin(direction) - rng.uniform(-0.8, 0.8)
        light += rng.uniform(0.08, 0.22) * np.exp(-((offset / rng.uniform(0.2, 0.5)) ** 2))
    return light


def _with_seam(surface: Floats, angle: float, rng: Generator) -> Floats:
    """Two brushing passes meet: beyond a line the grain is another one and a little lighter or darker. No defect."""
    size = len(surface)
    y, x = np.mgrid[:size, :size] - size / 2
    line = angle + rng.normal(0, 0.15)
    beyond = (y * np.cos(line) - x * np.sin(line)) > rng.uniform(-0.3, 0.3) * size
    other = _field(size, line, rng.uniform(8, 25), 0.6, rng) * rng.uniform(5, 10)
    moved = surface.mean() + rng.uniform(4, 14) * rng.choice([-1, 1]) + other
    return np.where(beyond, moved, surface).astype(np.float32)


def _with_smudge(surface: Floats, rng: Generator) -> Floats:
    """A wiped or greasy place: soft, without an edge, the grain shows through. No defect."""
    size = len(surface)
    shape = _window(size, rng, radius=rng.uniform(0.12, 0.3) * size, stretch=rng.uniform(1, 2.5))
    tone = np.float32(rng.uniform(8, 24) * rng.choice([-1, 1]))
    falloff: Floats = np.exp(-np.square(shape))
    return surface + tone * falloff


def _window(size: int, rng: Generator, *, radius: float, stretch: float) -> Floats:
    """Distance (size, size) from a random centre, 1 on an ellipse of this radius."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    cy, cx = rng.uniform(0.15, 0.85, 2) * size
    turn = rng.uniform(0, np.pi)
    long = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
    short = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
    distance: Floats = np.hypot(long / (radius * np.sqrt(stretch)), short / (radius / np.sqrt(stretch)))
    return distance


# --- the defects: each returns the new surface and writes its pixels into the mask ------------------------------------


def _scratches(surface: Floats, mask: Mask, angle: float, strength: float, rng: Generator) -> Floats:
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
        cover = _line(len(surface), rng)
        mask[cover > 0.3] = SCRATCH
        tone = rng.choice([-1, 1], p=[0.4, 0.6]) * strength * rng.uniform(40, 75)
        surface = surface + tone * cover
    return surface


def _line(size: int, rng: Generator) -> Floats:
    """Coverage (size, size) in [0, 1] of a thin curve whose width swells and ends in points."""
    middle, heading = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0, 2 * np.pi)
    length, bend = rng.uniform(0.3, 1.0) * size, rng.normal(0, 0.8)
    t = np.linspace(0, 1, 33)
    headings = heading + bend * t + 0.1 * np.cumsum(rng.normal(0, 0.3, t.size))
    step = length / t.size
    course = step * np.cumsum(np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
    points = middle + course - course.mean(axis=0)
    widths = rng.uniform(2.2, 4.5) * (0.4 + 0.6 * np.sin(np.pi * t)) * np.exp(rng.normal(0, 0.15, t.size))
    canvas = Image.new("L", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    for (a, b), width in zip(pairwise((points * SUPERSAMPLING).tolist()), widths[1:], strict=True):
        draw.line([*a, *b], fill=255, width=max(1, round(width * SUPERSAMPLING)))
    return _coverage(canvas)


def _coverage(canvas: Image.Image) -> Floats:
    """The share of each pixel that is drawn, in [0, 1]."""
    shrunk = canvas.reduce(SUPERSAMPLING)
    return np.asarray(shrunk, np.float32) / np.float32(255)


def _patches(surface: Floats, mask: Mask, angle: float, strength: float, rng: Generator) -> Floats:
    size = len(surface)
    for _ in range(rng.choice([1, 1, 2])):
        ragged = 0.35 * _field(size, 0.0, size / 14, size / 14, rng) + 0.12 * _field(size, 0.0, 2.0, 2.0, rng)
        depth = 1 + ragged - _window(size, rng, radius=rng.uniform(0.12, 0.28) * size, stretch=rng.uniform(1, 2.2))
        inside = np.clip(depth / rng.uniform(0.05, 0.25) + 0.5, 0, 1)  # the edge is sharp or soft
        mask[inside > 0.5] = PATCH
        mottled = _field(size, angle, 1.5, 1.0, rng) * rng.uniform(4, 9)
        tone = rng.choice([-1, 1], p=[0.6, 0.4]) * strength * rng.uniform(16, 38)
        # Inside, some of the brushing is gone and another texture lies over it.
        flattened = surface.mean() + 0.5 * (surface - surface.mean()) + tone + mottled
        surface = surface + inside * (flattened - surface)
    return surface


def _inclusions(surface: Floats, mask: Mask, angle: float, strength: float, rng: Generator) -> Floats:
    size = len(surface)
    canvas = Image.new("L", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.choice([1, 1, 2])):
        centre, spread = rng.uniform(0.15, 0.85, 2) * size, rng.uniform(0.03, 0.16) * size
        for _ in range(rng.integers(1, 8)):
            outline = _speck(centre + rng.normal(0, spread, 2), angle, rng) * SUPERSAMPLING
            draw.polygon([(x, y) for x, y in outline.tolist()], fill=255)
    cover = _coverage(canvas)
    mask[cover > 0.4] = INCLUSION
    ragged = 1 + np.float32(0.3) * _field(size, angle, 3.0, 1.0, rng)
    depth = np.float32(strength * rng.uniform(45, 85))
    return surface - depth * cover * ragged


def _speck(centre: NDArray[np.float64], angle: float, rng: Generator) -> NDArray[np.float64]:
    """Outline (16, 2) in pixels of a ragged ellipse, rolled out along the grain."""
    around = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    width = rng.uniform(1.8, 4.2)
    ragged = np.exp(rng.normal(0, 0.2, around.size))
    long, short = width * rng.uniform(1.5, 4.5) * np.cos(around) * ragged, width * np.sin(around) * ragged
    turn = angle + rng.normal(0, 0.12)
    x, y = long * np.cos(turn) - short * np.sin(turn), long * np.sin(turn) + short * np.cos(turn)
    outline: NDArray[np.float64] = centre + np.stack([x, y], axis=1)
    return outline


DEFECTS = {SCRATCH: _scratches, PATCH: _patches, INCLUSION: _inclusions}
