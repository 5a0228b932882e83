"""A folder of images divided by scene, and what given splits of it leak: ml.scenes and ml.splits, with files."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ml import landmarks, masks, meetings, scenes, splits
from ml.folder import Folder, Splits, grey, read_splits
from ml.scoring import read_scenes
from ml.spec import IGNORE, SpecError

Scenes = list[list[str]]

MEMORY = 1 << 27  # bytes of surfaces that are kept from where they are described to where they are compared
KEPT = 1024  # of the others, in memory while images are compared


def find_scenes(folder: Folder, overlap: float = meetings.RELATED) -> Scenes:
    """The images of a folder by scene, in order; as the server's import finds them. overlap: as in ml.meetings."""
    return by_label(folder.names, described(folder, overlap)[1])


def known_scenes(folder: Folder, told: Path | None, *, kept: Path) -> Scenes:
    """The scenes that the file `told` lists, or `kept`; otherwise they are found, and kept: of thousands that takes.

    Raises:
        SpecError: the file has another form, or lacks an image.
    """
    if path := told or (kept if kept.is_file() else None):
        listed = read_scenes(path)
        if missing := set(folder.names).difference(*listed):
            raise SpecError(f"{path}: lacks {len(missing)} images, the first is {min(missing)}; find the scenes anew")
        return listed
    found = find_scenes(folder)
    kept.write_text(json.dumps(found))
    return found


def known_splits(folder: Folder, told: Path | None, known: Scenes) -> tuple[Splits, str]:
    """The splits in the file `told`, or the folder's own, or made by scene, 70 : 30; and which, in words."""
    own = folder.root / "splits.json"
    if path := told or (own if own.is_file() else None):
        return read_splits(path, folder.names), f"split {path.name}"
    (made,) = divided(folder, known, shares=(0.7, 0.0, 0.3), ratios=(), folds=0, seed=0)
    return made, "split 70 : 30 by scene, seed 0"


def described(folder: Folder, overlap: float = meetings.RELATED) -> tuple[scenes.Floats, list[int]]:
    """Descriptors (N, 16, 16) of the images of a folder, and the scene of each: alike, or sharing landmarks."""
    whole, parts, at_hand = [], [], {}
    for place, name in enumerate(folder.names):
        picture = grey(folder.root / name)
        lit = landmarks.evenly_lit(picture)
        whole.append(scenes.descriptor(picture))
        parts.append(landmarks.of_surface(lit))
        if (place + 1) * lit.nbytes <= MEMORY:
            at_hand[place] = lit

    @lru_cache(maxsize=KEPT)
    def surface(place: int) -> scenes.Floats:
        return at_hand[place] if place in at_hand else landmarks.evenly_lit(grey(folder.root / folder.names[place]))

    stacked = scenes.stack(whole)
    copies = [(row, int(other)) for row, found in enumerate(scenes.alike(stacked)) for other in found]
    related = meetings.pairs(parts, surface, overlap=overlap, known=scenes.joined(len(whole), copies))
    return stacked, scenes.joined(len(whole), [*copies, *related])


def by_label(names: Sequence[str], labels: Sequence[int]) -> Scenes:
    """The names that have each label, in the order in which the labels first come."""
    members: dict[int, list[str]] = defaultdict(list)
    for name, label in zip(names, labels, strict=True):
        members[label].append(name)
    return list(members.values())


def divided(
    folder: Folder, known: Scenes, *, shares: Sequence[float], ratios: Sequence[Fraction], folds: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Contents of splits.json: one with these shares and nested labelled ratios of train, or one per fold.

    Raises:
        SpecError: the shares do not add up, or there are fewer scenes than folds.
    """
    surfaces = _surfaces(folder, known)
    if len(surfaces) < max(folds, 3):
        raise SpecError(f"expected at least {max(folds, 3)} scenes to divide, got {len(surfaces)}; add images")
    rng = np.random.default_rng(seed)
    if folds:
        parts = splits.folds(surfaces, folds, rng)
        for number, held_out in enumerate(parts):
            train = [surface for other, part in enumerate(parts) if other != number for surface in part]
            yield {"train": _names(train), "val": [], "test": _names(held_out)}
        return
    try:
        dealt = splits.divide(surfaces, dict(zip(("train", "val", "test"), shares, strict=True)), rng)
    except ValueError as error:
        raise SpecError(f"--shares: {error}") from error
    labelled = splits.nested(dealt["train"], ratios, rng)
    lists: dict[str, Any] = {split: _names(held) for split, held in dealt.items()}
    if labelled:
        lists["labelled"] = {str(ratio).replace("/", "_"): _names(chosen) for ratio, chosen in labelled.items()}
    yield lists


def sizes_in_words(lists: dict[str, Any], known: Scenes) -> str:
    """How many images and scenes each list holds."""
    of = {name: number for number, names in enumerate(known) for name in names}
    every = {**lists, **{f"labelled {ratio}": names for ratio, names in lists.get("labelled", {}).items()}}
    every.pop("labelled", None)
    return ", ".join(
        f"{which} {len(names)} images of {len({of[name] for name in names})} scenes" for which, names in every.items()
    )


def leaks_in_words(folder: Folder, known: Scenes, given: Splits) -> str:
    """For each split but train what it shares with train, and what a look-up scores on it; raises as `leaks`."""
    return "\n".join(map(splits.in_words, leaks(folder, known, given)))


def leaks(folder: Folder, known: Scenes, given: Splits) -> list[splits.Leak]:
    """What each split but train shares with train.

    Raises:
        SpecError: an image of the splits has no mask.
    """
    place = {name: number for number, name in enumerate(folder.names)}
    scene = {place[name]: number for number, names in enumerate(known) for name in names}
    wanted = sorted({name for held in given.values() for name in held})
    if without := [name for name in wanted if name not in folder.masks]:
        raise SpecError(f"expected a mask of every image in the splits, {len(without)} have none: {without[0]}, ...")
    drawn = {place[name]: masks.read(folder.masks[name]) for name in wanted}
    classes = 1 + max(int(mask[mask != IGNORE].max(initial=0)) for mask in drawn.values())
    descriptors = scenes.stack([scenes.descriptor(grey(folder.root / name)) for name in folder.names])
    train = [place[name] for name in given.get("train", [])]
    return [
        splits.leak(split, train, [place[name] for name in held], scene, descriptors, drawn, classes)
        for split, held in given.items()
        if split != "train" and held
    ]


def _surfaces(folder: Folder, known: Scenes) -> list[splits.Surface]:
    def shown(name: str) -> frozenset[int]:
        if name not in folder.masks:
            return frozenset()
        return frozenset(np.unique(masks.read(folder.masks[name])).tolist()) - {0, IGNORE}

    return [splits.Surface(tuple(names), frozenset().union(*map(shown, names))) for names in known if names]


def _names(surfaces: Sequence[splits.Surface]) -> list[str]:
    return sorted(name for surface in surfaces for name in surface.names)
