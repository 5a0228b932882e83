"""What a project's data set holds, and what its splits leak, in figures. Reads every mask: for workers only."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isnan
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from annotation.masks import read_index_mask
from catalog import browsing, files
from catalog.labels import classes_shown
from catalog.models import Image, Label, Project, ReferenceMask, SharedSurface, SharedSurfaces, Split
from ml import agreement, metrics, scenes, splits
from ml import statistics as holds

Key = TypeVar("Key")
Pixels = NDArray[np.uint8]
Counts = NDArray[np.int64]

SAMPLES = 8  # pictures of a class in the gallery
SIZES = 5  # image sizes named one by one
HELD_OUT = (Split.TEST, Split.VAL)


@dataclass(frozen=True)
class One:
    """An image: what of it counts here, and where its mask lies (empty: it has none).

    scene, given_scene: one number for all scenes that were found to show the same surface, though in different splits;
    the latter also where what showed it is kept out.
    """

    pk: int
    name: str
    split: str
    kept_out: bool
    scene: int
    given_scene: int
    size: tuple[int, int]  # width, height
    mask: str


class Masks(Mapping[Key, Pixels]):
    """Masks by key, each read when it is asked for: all of them at once would fill the memory."""

    def __init__(self, paths: Mapping[Key, str], classes: int) -> None:
        self._paths, self._classes = paths, classes

    def __getitem__(self, key: Key) -> Pixels:
        return read_index_mask(files.absolute(self._paths[key]), self._classes, None)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def figures_of(project: Project) -> dict[str, Any]:
    """Everything the statistics page and the sentences about leaks say; JSON-ready. Shares are of one."""
    fill_classes(project)
    images, descriptors = _images(project)
    indices = list(project.classes.values_list("index", flat=True))
    names = _names(project)
    masks = Masks({one.name: one.mask for one in images if one.mask}, len(names) - 1)
    found = {name: holds.of_mask(mask, len(names)) for name, mask in masks.items()}
    return {
        "images": len(images),
        "masks": len(found),
        "clean": sum(not one.pixels[1:].any() for one in found.values()),
        "kept_out": sum(one.kept_out for one in images),
        "splits": {split.value: _size([one for one in images if one.split == split and not one.kept_out])
                   for split in Split},
        "sizes": _sizes(images),
        "duplicates": _duplicates(images),
        "classes": [_of_class(index, images, found) for index in indices],
        "together": _together(found, indices),
        "agreement": _agreement(project, images, descriptors, masks, len(names)),
        "leaks": [leak for split in HELD_OUT for leak in _leaks(split, images, descriptors, len(names))],
        "warnings": _warnings(images, found, names),
        "gallery": _gallery(images, found, indices),
    }  # fmt: skip


def fill_classes(project: Project) -> None:
    """Look into the masks of rows that are older than their column `classes`."""
    labels = Label.objects.filter(image__project=project, classes=None, withdrawn=False)
    truth = ReferenceMask.objects.filter(image__project=project, classes=None)
    for rows in (labels, truth):
        for pk, path in list(rows.values_list("pk", "path")):
            rows.filter(pk=pk).update(classes=_look_into(path))


def _look_into(path: str) -> list[int]:
    return classes_shown(read_index_mask(files.absolute(path), browsing.LAST_INDEX, None))


def _images(project: Project) -> tuple[list[One], scenes.Floats]:
    """The project's images in order, and their descriptors (N, 16, 16)."""
    paths = dict(ReferenceMask.objects.filter(image__project=project).values_list("image", "path"))
    labels = browsing.counting(scripted=False).filter(image__project=project)
    paths = paths or dict(labels.values_list("image", "path"))
    shared = SharedSurface.objects.filter(one__project=project)
    surface, given_surface = _surfaces(shared.leaking()), _surfaces(shared)
    rows = Image.objects.filter(project=project).order_by("name")
    fields = rows.values_list("pk", "name", "split", "kept_out", "scene", "width", "height", "descriptor")
    images, descriptors = [], []
    for pk, name, split, kept_out, scene, width, height, descriptor in fields.iterator():
        numbers = surface.get(scene, scene), given_surface.get(scene, scene)
        images.append(One(pk, name, split, bool(kept_out), *numbers, (width, height), paths.get(pk, "")))
        descriptors.append(bytes(descriptor))
    return images, scenes.stack(descriptors)


def _surfaces(shared: SharedSurfaces) -> dict[int, int]:
    """For scenes that were found to show the same surface, the first of them."""
    pairs = list(shared.values_list("one__scene", "other__scene"))
    found = sorted({scene for pair in pairs for scene in pair})
    place = {scene: number for number, scene in enumerate(found)}
    firsts = scenes.joined(len(found), ((place[one], place[other]) for one, other in pairs))
    return {scene: found[first] for scene, first in zip(found, firsts, strict=True)}


def _names(project: Project) -> list[str]:
    """Of the classes by index, background first."""
    names = dict(project.classes.values_list("index", "name"))
    return ["background", *(names.get(index, f"class {index}") for index in range(1, max(names, default=0) + 1))]


def _size(images: Sequence[One]) -> dict[str, int]:
    labelled = sum(bool(one.mask) for one in images)
    return {"images": len(images), "scenes": len({one.scene for one in images}), "masks": labelled}


def _sizes(images: Sequence[One]) -> dict[str, Any]:
    sizes = Counter(one.size for one in images)
    named = [[width, height, count] for (width, height), count in sizes.most_common(SIZES)]
    return {"named": named, "others": len(sizes) - len(named)}


def _duplicates(images: Sequence[One]) -> dict[str, int]:
    several = [count for count in Counter(one.scene for one in images).values() if count > 1]
    return {"images": sum(several), "scenes": len(several), "largest": max(several, default=0)}


def _of_class(index: int, images: Sequence[One], found: Mapping[str, holds.OfMask]) -> dict[str, Any]:
    showing = [one for one in images if one.name in found and found[one.name].pixels[index]]
    sizes = np.array([size for one in found.values() for size in one.objects[index]], np.int64)
    total = sum(int(one.pixels.sum()) for one in found.values())
    return {
        "index": index,
        "images": len(showing),
        "scenes": len({one.scene for one in showing}),
        "share": sum(int(one.pixels[index]) for one in found.values()) / max(total, 1),
        "objects": len(sizes),
        "sizes": [round(size) for size in np.percentile(sizes, (10, 50, 90))] if len(sizes) else [],
        # By powers of two: objects of 1, 2-3, 4-7, ... pixels.
        "histogram": np.bincount(np.floor(np.log2(sizes)).astype(int)).tolist() if len(sizes) else [],
    }


def _together(found: Mapping[str, holds.OfMask], indices: Sequence[int]) -> list[list[int]]:
    """In how many masks each class is seen with each other, itself included."""
    shown = np.array([[bool(one.pixels[index]) for index in indices] for one in found.values()], int)
    together: list[list[int]] = (shown.T @ shown).tolist() if len(shown) else [[0] * len(indices) for _ in indices]
    return together


def _agreement(
    project: Project, images: Sequence[One], descriptors: scenes.Floats, masks: Mapping[str, Pixels], classes: int
) -> dict[str, Any] | None:
    """How far drawings of one surface agree: copies of an image with masks of their own, and second opinions."""
    names, surfaces = [one.name for one in images], [one.scene for one in images]
    copies = holds.several_drawings(names, masks, descriptors, surfaces)
    counts, views = np.zeros((classes, classes), np.int64), 0
    for drawings in chain(copies, _second_opinions(project, classes)):
        counts += agreement.between(drawings, classes)
        views += 1
    return {"views": views, **_mious(counts)} if views else None


def _second_opinions(project: Project, classes: int) -> Iterator[list[Pixels]]:
    """The latest masks that different people drew of one image."""
    latest = (
        Label.objects.filter(image__project=project)
        .by_people()
        .order_by("image", "annotator", "-created_at", "-pk")
        .distinct("image", "annotator")
    )
    drawn: dict[int, list[str]] = defaultdict(list)
    for image, path in latest.values_list("image", "path"):
        drawn[image] += [path] if path else []
    for paths in drawn.values():
        if len(paths) > 1:
            yield [read_index_mask(files.absolute(path), classes - 1, None) for path in paths]


def _leaks(split: Split, images: Sequence[One], descriptors: scenes.Floats, classes: int) -> Iterator[dict[str, Any]]:
    """What a split shares with training: among the images that take part, and, where some are kept out, as given."""
    for given in (False, True) if any(one.kept_out for one in images) else (False,):
        part = [place for place, one in enumerate(images) if one.mask and (given or not one.kept_out)]
        train, held_out = ([place for place in part if images[place].split == which] for which in (Split.TRAIN, split))
        if not held_out:
            continue
        masks = Masks({place: images[place].mask for place in part}, classes - 1)
        surfaces = {place: images[place].given_scene if given else images[place].scene for place in part}
        leak = splits.leak(split.label, train, held_out, surfaces, descriptors, masks, classes)
        if given and not leak.shared:
            continue
        told = {"split": split.value, "given": given, "shared": leak.shared, "of": leak.of}
        yield {**told, **_mious(leak.counts), "sentence": splits.in_words(leak)}


def _warnings(images: Sequence[One], found: Mapping[str, holds.OfMask], names: Sequence[str]) -> list[str]:
    surfaces = {one.name: one.scene for one in images}
    taking_part = {
        split.value: [one.name for one in images if one.split == split and not one.kept_out] for split in Split
    }
    return [
        *holds.rare_classes(found, names, surfaces),
        *holds.strange_values(found),
        *holds.black_and_white(found),
        *holds.doubtful_splits(taking_part, surfaces),
    ]


def _gallery(images: Sequence[One], found: Mapping[str, holds.OfMask], indices: Sequence[int]) -> list[dict[str, Any]]:
    """Images of each class from the least to the most of it, then some without a defect (index 0)."""
    drawn = [one for one in images if one.name in found]
    rows = []
    for index in indices:
        showing = sorted((int(found[one.name].pixels[index]), one.pk) for one in drawn if found[one.name].pixels[index])
        rows.append({"index": index, "images": [pk for _, pk in _spread(showing)]})
    clean = [one.pk for one in drawn if not found[one.name].pixels[1:].any()]
    return [row for row in [*rows, {"index": 0, "images": _spread(clean)}] if row["images"]]


def _spread(ranked: Sequence[Any]) -> list[Any]:
    """SAMPLES of these at equal distances, the first and the last among them."""
    places = np.linspace(0, len(ranked) - 1, min(SAMPLES, len(ranked)))
    return [ranked[place] for place in places.round().astype(int)]


def _mious(counts: Counts) -> dict[str, float | None]:
    figures = {
        "miou": metrics.mean_iou(counts, background=True), "miou_foreground": metrics.mean_iou(counts, background=False)
    }  # fmt: skip
    return {name: None if isnan(figure) else float(figure) for name, figure in figures.items()}
