"""What a data set holds, and what about it will hurt later: in figures and in words (numpy only)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml import agreement, masks, metrics, scenes
from ml.dividing import described
from ml.folder import Folder, Splits
from ml.spec import IGNORE

RARE = 10  # images of a class: with fewer, one unlucky split leaves a part of them without any
INDICES = 32  # where the classes are not named: values from here on are no class


@dataclass(frozen=True)
class OfMask:
    """One mask, K classes. pixels: (K,).  objects: per class the sizes of its connected parts, in pixels.

    strange: values that are no class.  ignored: pixels of 255.
    """

    pixels: NDArray[np.int64]
    objects: tuple[tuple[int, ...], ...]
    strange: tuple[int, ...]
    ignored: int


def of_mask(mask: NDArray[np.uint8], classes: int) -> OfMask:
    """The figures of one mask (H, W); classes: K, background included."""
    pixels = np.bincount(mask.ravel(), minlength=256)
    strange = [value for value in np.flatnonzero(pixels).tolist() if value >= classes and value != IGNORE]
    objects = tuple(object_sizes(mask == of) if of and pixels[of] else () for of in range(classes))
    return OfMask(pixels[:classes], objects, tuple(strange), int(pixels[IGNORE]))


def object_sizes(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Pixels of each connected part of a mask (H, W), corners touching, the largest first."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (rows, starts), (_, ends) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    bounds = np.searchsorted(rows, np.arange(len(mask) + 1)).tolist()
    touching = [
        (above, below)
        for (first, middle), (_, last) in pairwise(pairwise(bounds))
        for above in range(first, middle)
        for below in range(middle, last)
        if starts[above] <= ends[below] and starts[below] <= ends[above]
    ]
    labels = scenes.joined(len(rows), touching)
    sizes = np.bincount(labels, weights=ends - starts) if labels else np.zeros(0)
    return tuple(sorted(map(int, sizes[sizes > 0]), reverse=True))


def report(folder: Folder, given: Splits) -> str:
    """A data set in words: classes, objects, sizes, duplicates, the ceiling, and what to mind.

    given: its splits, empty where it has none.
    """
    drawn = {name: masks.read(path) for name, path in folder.masks.items()}
    names = ("background", *(folder.classes or _guessed(drawn)))
    found = {name: of_mask(mask, len(names)) for name, mask in drawn.items()}
    descriptors, labels = described(folder)
    clean = {name: mask for name, mask in drawn.items() if not found[name].strange}
    apart = list(several_drawings(folder.names, clean, descriptors, labels))
    lines = [
        f"{len(folder.names)} images of {_sizes(folder)}, {len(drawn)} with a mask, {len(set(labels))} scenes",
        _duplicates(labels),
        *(_of_classes(list(found.values()), names) if found else []),
        *([_ceiling(apart, len(names))] if apart else []),
    ]
    scene = dict(zip(folder.names, labels, strict=True))
    noted = [
        *rare_classes(found, names, scene),
        *strange_values(found),
        *black_and_white(found),
        *doubtful_splits(given, scene),
    ]
    return "\n".join([*lines, *(f"NOTE: {one}" for one in noted)])


def several_drawings(
    names: Sequence[str], drawn: Mapping[str, NDArray[np.uint8]], descriptors: scenes.Floats, labels: Sequence[int]
) -> Iterator[list[NDArray[np.uint8]]]:
    """The masks, turned to lie alike, of each view that was drawn more than once."""
    for view in agreement.views(descriptors, labels):
        turned = [scenes.turned(drawn[names[place]], pose) for place, pose in view if names[place] in drawn]
        if len(turned) > 1 and agreement.drawn_apart(turned):
            yield turned


def rare_classes(found: Mapping[str, OfMask], names: Sequence[str], scene: Mapping[str, int]) -> list[str]:
    """A sentence for each class that hardly any image shows.

    found: by image.  names: of the classes, background first.  scene: of each image.
    """
    told = []
    for number, name in enumerate(names[1:], start=1):
        holding = [image for image, one in found.items() if one.pixels[number]]
        if found and len(holding) < RARE:
            several = len({scene[image] for image in holding})
            told += [f"class {name} occurs in {len(holding)} images of {several} scenes; collect more, or merge it."]
    return told


def strange_values(found: Mapping[str, OfMask]) -> list[str]:
    """A sentence if masks hold values that are no class."""
    strange = [image for image, one in found.items() if one.strange]
    if not strange:
        return []
    values = {value for one in found.values() for value in one.strange}
    told = (
        f"{len(strange)} masks, the first of {strange[0]}, hold values that are no class ({min(values)} to "
        f"{max(values)}), as grey edges do; export them as class indices, or convert them with a threshold."
    )
    return [told]


def black_and_white(found: Mapping[str, OfMask]) -> list[str]:
    """A sentence if more masks hold 255 and no class than hold a class: drawn in white, they were to be indices."""
    white = [image for image, one in found.items() if one.ignored and not one.pixels[1:].any()]
    if len(white) <= sum(bool(one.pixels[1:].any()) for one in found.values()):
        return []
    told = (
        f"{len(white)} masks, the first of {white[0]}, hold 0 and 255 only, and 255 is what does not count: none of "
        "them shows a defect. If their white is a class, write its index instead, and import them again."
    )
    return [told]


def doubtful_splits(given: Splits, scene: Mapping[str, int]) -> list[str]:
    """A sentence if all images lie in one split, and for each split that shares scenes with train."""
    held = {split: names for split, names in given.items() if names}
    if len(held) == 1:
        return [f"all images are in one split ({next(iter(held))}); nothing is left to judge a model by."]
    trained = {scene[name] for name in given.get("train", [])}
    shared = {split: sum(scene[name] in trained for name in names) for split, names in held.items() if split != "train"}
    return [
        f"{count} of {len(held[split])} images of {split} show a surface that train shows too: see ml split --check."
        for split, count in shared.items()
        if count
    ]


def _guessed(drawn: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    """Names for classes that no classes.json names: one per index up to the highest."""
    highest = max((int(mask[mask < INDICES].max(initial=0)) for mask in drawn.values()), default=0)
    return [f"class {number}" for number in range(1, highest + 1)]


def _sizes(folder: Folder) -> str:
    sizes: Counter[tuple[int, int]] = Counter()
    for name in folder.names:
        with Image.open(folder.root / name) as image:
            sizes[image.size] += 1
    shown = [f"{width} x {height} ({count})" for (width, height), count in sizes.most_common(3)]
    return ", ".join(shown) + (f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else "")


def _duplicates(labels: Sequence[int]) -> str:
    several = [count for count in Counter(labels).values() if count > 1]
    if not several:
        return "no two images show the same surface"
    images = sum(several)
    return (
        f"{images} images show a surface that another shows too: {len(several)} scenes of up to {max(several)} images"
    )


def _of_classes(found: Sequence[OfMask], names: Sequence[str]) -> list[str]:
    pixels = np.stack([one.pixels for one in found])  # (N, K)
    shows = pixels[:, 1:] > 0
    together = shows.astype(int).T @ shows
    width = max(len("class"), *map(len, names))
    lines = [
        f"{100 * (~shows.any(axis=1)).mean():.1f} % of the masks show no defect",
        f"{'class':<{width}} {'images':>7} {'pixels %':>9} {'objects':>8} {'median px':>10}  in the same image as",
    ]
    for of, name in enumerate(names[1:], start=1):
        sizes = [size for one in found for size in one.objects[of]]
        beside = [
            f"{other} {count}"
            for other, count in zip(names[1:], together[of - 1].tolist(), strict=True)
            if count and other != name
        ]
        row = f"{name:<{width}} {shows[:, of - 1].sum():>7} {100 * pixels[:, of].sum() / max(pixels.sum(), 1):>9.3f} "
        lines += [f"{row}{len(sizes):>8} {np.median(sizes) if sizes else 0:>10.0f}  {', '.join(beside) or '-'}"]
    return lines


def _ceiling(apart: Sequence[Sequence[NDArray[np.uint8]]], classes: int) -> str:
    counts = sum((agreement.between(view, classes) for view in apart), start=np.zeros((classes, classes), np.int64))
    return (
        f"{len(apart)} views were drawn more than once: two drawings agree to mIoU "
        f"{100 * metrics.mean_iou(counts, background=True):.1f} % with background, "
        f"{100 * metrics.mean_iou(counts, background=False):.1f} % without; "
        "about that is the ceiling for a model scored against one of them"
    )
